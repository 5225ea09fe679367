"""Whether a process that somebody else started has really gone."""

from __future__ import annotations

import psutil


def lives(pid: int | None) -> bool:
    """A zombie does not live: its parent alone decides when it is reaped."""
    if pid is None:
        return False
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
