"""What waits for a place, as requests to the planner, and what a plan's answer means in slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from muster_api.gangs import Gang
from muster_api.plans import Placement
from muster_planner.policy import Strategy
from muster_planner.request import GangRequest, MemberGroup
from muster_planner.reservation import Reservation
from muster_planner.retry import Lesson
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.members import Member
from muster_queue.controller.shapes import Shape
from muster_queue.jobs.limits import charges_of
from muster_queue.jobs.ordering import order_text, widened
from muster_queue.jobs.templates import JobTemplate

Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class GangTarget:
    """A whole gang that waits for its first place in this epoch."""

    key: GroupKey


@dataclass(frozen=True, slots=True)
class GrowthTarget:
    """One more member of a gang that runs."""

    key: GroupKey
    uid: str


@dataclass(frozen=True, slots=True)
class SingleTarget:
    """A pod that is its own gang."""

    uid: str


Target = GangTarget | GrowthTarget | SingleTarget
Owner = GroupKey | str
"""Whose wishes they are: a gang label's, or a single pod's by its uid."""


def owner_of(target: Target) -> Owner:
    """Whose wish leads to this target."""
    match target:
        case GangTarget(key) | GrowthTarget(key, _):
            return key
        case SingleTarget(uid):
            return uid


class Backlog:
    """Everything that waits, by owner, with the requests made once and kept until the owner's wishes change."""

    def __init__(self) -> None:
        self.has_changed = False
        self._wishes: dict[Owner, dict[str, tuple[GangRequest, Target]]] = {}

    def wish(self, owner: Owner, wishes: Iterable[tuple[GangRequest, Target]]) -> None:
        """This is all that the owner waits for now."""
        new = {request.uid: (request, target) for request, target in wishes}
        if new == self._wishes.get(owner, {}):
            return
        self.has_changed = True
        if new:
            self._wishes[owner] = new
        else:
            del self._wishes[owner]

    def drop(self, owner: Owner) -> None:
        """Nothing is waited for any more."""
        self.wish(owner, ())

    def __len__(self) -> int:
        return len(self._wishes)

    def owners(self) -> list[Owner]:
        return list(self._wishes)

    def requests(self) -> Iterator[GangRequest]:
        for wishes in self._wishes.values():
            for request, _ in wishes.values():
                yield request

    def targets(self) -> dict[str, Target]:
        """What each request's uid stands for."""
        return {uid: target for wishes in self._wishes.values() for uid, (_, target) in wishes.items()}


def gang_request(gang: Gang, members: Iterable[Member], shapes: Shapes, lesson: Lesson) -> GangRequest:
    """All members that exist, with the gang's own minimum."""
    metadata = gang.metadata
    return GangRequest(
        key=(metadata.namespace, metadata.name),
        uid=metadata.uid,
        priority=gang.spec.priority,
        created=widened(metadata.creation_timestamp),
        groups=groups_of(members, shapes),
        minimum=gang.spec.min_members,
        taught=lesson,
    )


def job_request(gang: Gang, template: JobTemplate, shapes: Shapes, lesson: Lesson) -> GangRequest:
    """All members that a job is to have, none of which exists yet, with what it takes of its queue and cluster."""
    metadata, shape = gang.metadata, shapes[template.shape]
    chosen = template.job.spec.strategy
    return GangRequest(
        key=(metadata.namespace, metadata.name),
        uid=metadata.uid,
        priority=gang.spec.priority,
        created=order_text(template.job.metadata),
        groups=(MemberGroup(template.shape, shape.demand, shape.constraints, template.members),),
        minimum=gang.spec.min_members,
        taught=lesson,
        charges=charges_of(metadata.namespace, gang.spec.queue, gang.spec.cluster, gang.spec.gpus),
        strategy=Strategy(chosen.value) if chosen is not None else None,
    )


def growth_request(gang: Gang, member: Member, shapes: Shapes, lesson: Lesson) -> GangRequest:
    """One replacement or late member, planned alone at its gang's place in the order."""
    metadata = gang.metadata
    return GangRequest(
        key=(metadata.namespace, f"{metadata.name}/{member.name}"),
        uid=member.uid,
        priority=gang.spec.priority,
        created=widened(metadata.creation_timestamp),
        groups=groups_of((member,), shapes),
        minimum=1,
        taught=lesson,
    )


def single_request(member: Member, shapes: Shapes, lesson: Lesson) -> GangRequest:
    """A gang of one; its key cannot be that of a Gang object."""
    return GangRequest(
        key=(member.namespace, f"pod/{member.name}"),
        uid=member.uid,
        priority=member.priority,
        created=widened(member.created),
        groups=groups_of((member,), shapes),
        minimum=1,
        taught=lesson,
    )


def groups_of(members: Iterable[Member], shapes: Shapes) -> tuple[MemberGroup, ...]:
    """The members by shape, in an order that does not depend on theirs."""
    counts = Counter(member.shape for member in members)
    return tuple(
        MemberGroup(shape, shapes[shape].demand, shapes[shape].constraints, counts[shape]) for shape in sorted(counts)
    )


def slots_of(reservation: Reservation, first: int = 0) -> dict[int, Placement]:
    """Number the places of a reservation, from this number on."""
    return {first + index: Placement(node, shape) for index, (shape, node) in enumerate(reservation.places())}
