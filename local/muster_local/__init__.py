"""A real Kubernetes control plane with Muster on one machine; never imported by a service."""
