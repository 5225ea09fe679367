"""Whether a queue of the index can be trusted, from its marker and its counts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from muster_queue.index.truth import Tally
from muster_queue.index.values import Depth, Examination


class Doubt(StrEnum):
    """Why a queue is compared with Postgres job by job."""

    EMPTIED = "Emptied"
    """No marker: never filled, flushed, restarted without its data, or the marker was evicted."""
    REPLACED = "Replaced"
    """Another server process than when it was complete: the last writes may be missing."""
    EVICTED = "Evicted"
    """The server has thrown keys away to make room."""
    DRIFTED = "Drifted"
    """The counts differ for longer than jobs are on their way."""


class Drift(msgspec.Struct, frozen=True):
    """By how much a queue of the index was above what Postgres said, at one look."""

    waiting: int
    leased: int
    told: Tally


class Tolerance(msgspec.Struct, frozen=True):
    """What counts as jobs on their way between Postgres and the index."""

    looks: int = 3
    """So many looks in a row have to agree."""
    jobs: int = 1000
    share: float = 0.01

    def jobs_of(self, told: int) -> float:
        return max(self.jobs, self.share * told)


def doubt_of(examination: Examination) -> Doubt | None:
    """What the marker says."""
    marker, identity = examination.marker, examination.identity
    if marker is None:
        return Doubt.EMPTIED
    if marker.identity.run != identity.run:
        return Doubt.REPLACED
    if marker.identity.evicted != identity.evicted:
        return Doubt.EVICTED
    return None


def drift_of(told: Tally, depth: Depth) -> Drift:
    return Drift(depth.waiting - told.waiting, depth.leased - told.leased, told)


def has_drifted(looks: Sequence[Drift], tolerance: Tolerance) -> bool:
    """Whether the last looks agree that jobs are missing or too many.

    1. All differ by more than can be on its way, in the same direction; or
    2. nothing moves, and still there is a difference.
    """
    recent = looks[-tolerance.looks :]
    if len(recent) < tolerance.looks:
        return False
    waiting = _beyond([(look.waiting, tolerance.jobs_of(look.told.waiting)) for look in recent])
    leased = _beyond([(look.leased, tolerance.jobs_of(look.told.leased)) for look in recent])
    return waiting or leased or _stands_still(recent)


def _beyond(differences: Sequence[tuple[int, float]]) -> bool:
    return all(by > allowed for by, allowed in differences) or all(-by > allowed for by, allowed in differences)


def _stands_still(looks: Sequence[Drift]) -> bool:
    first = looks[0]
    return (first.waiting, first.leased) != (0, 0) and all(look == first for look in looks)
