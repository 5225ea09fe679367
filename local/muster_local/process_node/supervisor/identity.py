"""Telling a process from a later one that got the same number, by when the kernel started it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIELDS_BEFORE = 3
"""The number and the name; fields are counted from 1, as the kernel's manual does."""
_STATE, _GROUP, _SESSION, _START = (field - _FIELDS_BEFORE for field in (3, 5, 6, 22))


@dataclass(frozen=True)
class Process:
    """What the kernel says of a process; `start` in clock ticks since the boot."""

    state: str
    group: int
    session: int
    start: int

    @property
    def is_dead(self) -> bool:
        """A zombie keeps its number until its parent has taken note."""
        return self.state in ("Z", "X")


def look_up(pid: int) -> Process | None:
    """The process of this number, dead or alive."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name is in parentheses and may contain anything, parentheses included.
    fields = text.rpartition(")")[2].split()
    return Process(fields[_STATE], int(fields[_GROUP]), int(fields[_SESSION]), int(fields[_START]))


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of this process; None when it is gone or only a zombie."""
    found = look_up(pid)
    return found.start if found is not None and not found.is_dead else None


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process still runs."""
    return start_ticks(pid) == started


def boot() -> str:
    """Within which numbers and start times mean anything: of the machine, or of the container that this one is."""
    first = look_up(1)
    return f"{_BOOT_ID.read_text().strip()}/{first.start if first is not None else 0}"


def mount_namespace(pid: int) -> str:
    """Empty where that cannot be told."""
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


def group_members(group: int) -> dict[int, Process]:
    """The processes of a process group, by their numbers."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = {pid: look_up(pid) for pid in numbers}
    return {pid: process for pid, process in found.items() if process is not None and process.group == group}


def children_of(pid: int) -> list[int]:
    """The processes whose parent is this one."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listing.read_text().split())
        except OSError:
            continue
    return found
