"""Counts gangs for the metrics, at scrape time and from memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from muster_api.phases import GangPhase
from muster_queue.controller.groups import Group
from muster_queue.controller.members import Stage
from muster_queue.controller.statuses import succeeded_so_far
from muster_queue.controller.world import World


@dataclass(frozen=True, slots=True)
class Census:
    """How many wait and why, for how long the oldest, and how many stand in part."""

    pending: dict[str, int]
    oldest: float
    partial: int


def census_of(world: World, now: Callable[[], datetime]) -> Census:
    """Walks over all gangs; a hundred thousand pods take some ten milliseconds."""
    waiting = [group for group in world.groups.values() if _is_waiting(group)]
    reasons = Counter(group.gang.status.reason or "PendingEvaluation" for group in waiting if group.gang is not None)
    moment = now()
    ages = (_age(group, moment) for group in waiting)
    partial = sum(1 for group in world.groups.values() if _is_partial(group))
    return Census(dict(reasons), max(ages, default=0.0), partial)


def _is_waiting(group: Group) -> bool:
    return group.gang is not None and group.gang.status.phase is GangPhase.PENDING


def _is_partial(group: Group) -> bool:
    if group.gang is None or group.gang.status.phase in (GangPhase.SUCCEEDED, GangPhase.FAILED):
        return False
    bound = sum(1 for member in group.members.values() if member.stage is Stage.BOUND and not member.deleting)
    ended = sum(1 for member in group.members.values() if member.stage is Stage.SUCCEEDED)
    succeeded = max(ended + group.finished, succeeded_so_far(group.gang.status))
    return bound > 0 and bound + succeeded < group.gang.spec.min_members


def _age(group: Group, now: datetime) -> float:
    created = group.gang.metadata.creation_timestamp if group.gang is not None else None
    if not created:
        return 0.0
    return max(0.0, (now - datetime.fromisoformat(created)).total_seconds())
