"""Hands `execution: pool` jobs to warm workers: leases in batches, heartbeats, acknowledgements. Postgres decides."""
