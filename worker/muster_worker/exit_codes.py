"""How a worker ends, as the reconciler reads it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status says whether another attempt can help."""

    DONE = 0
    FAILED = 1
    """Another attempt may help: it goes on from the newest checkpoint."""
    REFUSED = 2
    """No attempt can help: the configuration or the environment has to change.

    The termination message then begins with `refused:`, since many a program ends with 2 for reasons of its own.
    """
    TERMINATED = 143
    """Told to stop by SIGTERM, and stopped in order; as a shell reports it: 128 + 15."""
