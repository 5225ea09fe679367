"""Pure scheduling decisions over immutable snapshots; no I/O, no clock, no randomness, no logging."""
