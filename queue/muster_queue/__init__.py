"""The queue service: decides which whole gang goes next and where, and releases it."""
