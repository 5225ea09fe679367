"""A warm worker: leases jobs of one pool over the REST api, runs several at once, and says how each has ended."""
