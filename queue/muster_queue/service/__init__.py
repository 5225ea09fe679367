"""What stands behind the REST api: the stores, opened together, and everything that can be asked of them."""
