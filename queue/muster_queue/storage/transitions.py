"""The one table of moves that a job can make; docs/job_state_machine.md draws it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from muster_api.phases import JobPhase

WAITING: Final = frozenset({JobPhase.PENDING, JobPhase.QUEUED, JobPhase.RETRYING, JobPhase.HELD})
STARTED: Final = frozenset({JobPhase.SCHEDULED, JobPhase.RUNNING})
ENDED: Final = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.DEAD_LETTER, JobPhase.CANCELLED})

_ATTEMPT_ENDS: Final = frozenset(
    {
        JobPhase.QUEUED,
        JobPhase.SUCCEEDED,
        JobPhase.FAILED,
        JobPhase.RETRYING,
        JobPhase.DEAD_LETTER,
        JobPhase.HELD,
        JobPhase.CANCELLED,
    }
)

TRANSITIONS: Final[dict[JobPhase, frozenset[JobPhase]]] = {
    JobPhase.PENDING: frozenset({JobPhase.QUEUED, JobPhase.FAILED, JobPhase.HELD, JobPhase.CANCELLED}),
    JobPhase.QUEUED: frozenset({*STARTED, JobPhase.FAILED, JobPhase.HELD, JobPhase.CANCELLED}),
    JobPhase.SCHEDULED: frozenset({JobPhase.RUNNING, *_ATTEMPT_ENDS}),
    JobPhase.RUNNING: _ATTEMPT_ENDS,
    JobPhase.RETRYING: frozenset({JobPhase.QUEUED, JobPhase.FAILED, JobPhase.HELD, JobPhase.CANCELLED}),
    JobPhase.HELD: frozenset({JobPhase.QUEUED, JobPhase.FAILED, JobPhase.CANCELLED}),
    JobPhase.FAILED: frozenset({JobPhase.QUEUED, JobPhase.RETRYING, JobPhase.DEAD_LETTER}),
    JobPhase.DEAD_LETTER: frozenset({JobPhase.QUEUED, JobPhase.CANCELLED}),
    JobPhase.SUCCEEDED: frozenset(),
    JobPhase.CANCELLED: frozenset(),
}
"""Legal moves. Failed goes on where somebody asks for it; DeadLetter -> Cancelled is a dead letter that is dropped."""

FIRST_PHASES: Final = frozenset({JobPhase.PENDING, JobPhase.QUEUED, JobPhase.HELD})
"""Where a submission may begin."""

INDEXED_PHASES: Final = frozenset({JobPhase.QUEUED})
"""Phases in which the index offers a job for dispatch: entering or leaving them is told to it by the outbox."""


class Shelf(IntEnum):
    """Phases that share a stretch of the listing index, so that going from Queued to Running touches no index."""

    ACTIVE = 0
    PARKED = 1
    SUCCEEDED = 2
    FAILED = 3
    DEAD_LETTER = 4
    CANCELLED = 5


SHELVES: Final[dict[JobPhase, Shelf]] = {
    JobPhase.QUEUED: Shelf.ACTIVE,
    JobPhase.SCHEDULED: Shelf.ACTIVE,
    JobPhase.RUNNING: Shelf.ACTIVE,
    JobPhase.PENDING: Shelf.PARKED,
    JobPhase.RETRYING: Shelf.PARKED,
    JobPhase.HELD: Shelf.PARKED,
    JobPhase.SUCCEEDED: Shelf.SUCCEEDED,
    JobPhase.FAILED: Shelf.FAILED,
    JobPhase.DEAD_LETTER: Shelf.DEAD_LETTER,
    JobPhase.CANCELLED: Shelf.CANCELLED,
}


def is_legal(source: JobPhase, target: JobPhase) -> bool:
    """Whether a job may go from one phase to the other."""
    return target in TRANSITIONS[source]


def sources_of(target: JobPhase) -> tuple[JobPhase, ...]:
    """The phases from which a job may come here."""
    return tuple(source for source in JobPhase if target in TRANSITIONS[source])
