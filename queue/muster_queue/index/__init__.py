"""The index of waiting and leased jobs in Redis: fast to ask, free to vanish. It never decides: Postgres does.

May import the vocabulary. May never import storage, rest, intake or the controller.
"""
