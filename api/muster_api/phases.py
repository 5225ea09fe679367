"""The phases of gangs and jobs, and the one table of moves that are legal between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class GangPhase(StrEnum):
    """Where a gang stands in the release protocol; docs/state_machine.md draws it."""

    PENDING = "Pending"
    RESERVED = "Reserved"
    RELEASED = "Released"
    COMMITTED = "Committed"
    RUNNING = "Running"
    EVICTING = "Evicting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class JobPhase(StrEnum):
    """What a user sees of an AIJob, in the custom resource and over REST alike."""

    PENDING = "Pending"
    QUEUED = "Queued"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    RETRYING = "Retrying"
    DEAD_LETTER = "DeadLetter"
    HELD = "Held"
    CANCELLED = "Cancelled"


GANG_TRANSITIONS: Final[dict[GangPhase, frozenset[GangPhase]]] = {
    GangPhase.PENDING: frozenset({GangPhase.RESERVED, GangPhase.RUNNING, GangPhase.FAILED}),
    GangPhase.RESERVED: frozenset({GangPhase.RELEASED, GangPhase.PENDING}),
    GangPhase.RELEASED: frozenset({GangPhase.COMMITTED, GangPhase.PENDING}),
    GangPhase.COMMITTED: frozenset({GangPhase.RUNNING, GangPhase.EVICTING, GangPhase.SUCCEEDED, GangPhase.FAILED}),
    GangPhase.RUNNING: frozenset({GangPhase.EVICTING, GangPhase.SUCCEEDED, GangPhase.FAILED}),
    GangPhase.EVICTING: frozenset({GangPhase.PENDING, GangPhase.FAILED}),
    GangPhase.SUCCEEDED: frozenset(),
    GangPhase.FAILED: frozenset({GangPhase.PENDING}),
}
"""Legal moves. Pending -> Running only adopts members that were bound before their Gang object was (re)made."""

HOLDING_PHASES: Final = frozenset({GangPhase.RESERVED, GangPhase.RELEASED, GangPhase.COMMITTED, GangPhase.RUNNING})
"""Phases in which the plan's unbound slots take room on their nodes."""

COVER_PHASES: Final = frozenset({GangPhase.RESERVED, GangPhase.RELEASED})
"""Phases in which a reservation counts only while the PlacementTerm covers it."""

COMMITTED_PHASES: Final = frozenset({GangPhase.COMMITTED, GangPhase.RUNNING})
"""Phases in which a member with a valid ticket binds without waiting at the barrier."""

ENDED_PHASES: Final = frozenset({GangPhase.PENDING, GangPhase.SUCCEEDED, GangPhase.FAILED})
"""Phases in which a gang takes nothing of anybody's limits."""


def may_move(source: GangPhase, target: GangPhase) -> bool:
    """Whether the release protocol allows this step; staying in a phase is no step and always allowed."""
    return source == target or target in GANG_TRANSITIONS[source]
