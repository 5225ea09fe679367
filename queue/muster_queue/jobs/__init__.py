"""Decides what becomes of AIJobs: pure functions over frozen values, the time passed in; never does any I/O."""
