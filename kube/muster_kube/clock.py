"""Time as a dependency: durations from the monotonic clock, wall time only to be written down."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a process gets its time from."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; the only thing that deadlines are made of."""

    def now(self) -> datetime:
        """UTC, for people and for objects; never compared with another machine's."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


def micro_time(moment: datetime) -> str:
    """A meta/v1 MicroTime, as Leases and Events carry it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339(moment: datetime) -> str:
    """A meta/v1 Time: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
