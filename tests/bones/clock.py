"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Implements muster_kube.clock.Clock; both readings advance together unless the wall clock is set."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC), monotonic: float = 1000.0) -> None:
        self._now = now
        self._monotonic = monotonic

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)

    def set_wall_clock(self, now: datetime) -> None:
        """An operator or NTP sets the time; durations are not affected."""
        self._now = now
