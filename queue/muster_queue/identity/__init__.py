"""Who is asking, and what they may: tokens become callers, and Kubernetes' own RBAC decides about them.

Nothing here knows what a job is, keeps a secret, or can be switched off.
"""
