"""Telling a process from a later one that got the same number, by when the kernel started it."""

from __future__ import annotations

from pathlib import Path

_FIELDS_AFTER_NAME = 2
_START_TIME_FIELD = 22
_STATE_FIELD = 3


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of this process; None when it is gone or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name is in parentheses and may contain anything, parentheses included.
    fields = text.rpartition(")")[2].split()
    if fields[_STATE_FIELD - _FIELDS_AFTER_NAME - 1] in ("Z", "X"):
        return None
    return int(fields[_START_TIME_FIELD - _FIELDS_AFTER_NAME - 1])


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process still runs."""
    return start_ticks(pid) == started


def children_of(pid: int) -> list[int]:
    """The processes whose parent is this one."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listing.read_text().split())
        except OSError:
            continue
    return found
