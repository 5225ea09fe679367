"""The score of a waiting job: by priority, then by time; the store itself orders equal scores by id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from muster_api.priorities import HIGHEST, LOWEST

BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
TICK: Final = timedelta(microseconds=32)
BAND: Final = 1 << 46
"""Ticks from the beginning that one priority has room for: until 2091. 101 bands stay below 2**53, up to where a double
is exact."""


def score_of(priority: int, submitted: datetime) -> int:
    """The lower, the sooner. Clamped, not refused: a job with an odd date still has its place.

    Jobs of one priority within a tick have the same score and are ordered by id, for UUIDv7 by time to the millisecond.
    """
    ticks = (submitted - BEGINNING) // TICK
    rank = HIGHEST - min(max(priority, LOWEST), HIGHEST)
    return rank * BAND + min(max(ticks, 0), BAND - 1)


def priority_of(score: int) -> int:
    """The priority that a score was made from."""
    return HIGHEST - score // BAND


def submitted_at(score: int) -> datetime:
    """The time that a score was made from, rounded down to a tick."""
    return BEGINNING + (score % BAND) * TICK
