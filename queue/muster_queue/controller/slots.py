"""Which member takes which slot of a plan: any that is free and made for its shape, and the one it has already."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from muster_api.plans import Placement
from muster_queue.controller.members import Member, Stage


@dataclass(frozen=True, slots=True)
class Assignment:
    """One ticket to write."""

    member: Member
    slot: int
    node: str


@dataclass(frozen=True, slots=True)
class Seating:
    """The state of a plan's slots: tickets that stand, tickets to send, and members left without a slot."""

    standing: dict[int, Member]
    to_send: tuple[Assignment, ...]
    unseated: tuple[Member, ...]

    @property
    def seated(self) -> int:
        """How many members have a slot, now or once their ticket is sent."""
        return len(self.standing) + len(self.to_send)


def seat(
    members: Iterable[Member],
    plan: Mapping[int, Placement],
    gang_id: str,
    epoch: str,
    claims: Mapping[int, str],
) -> Seating:
    """Keep every valid ticket, then give the lowest free slots of each shape to the others in their order.

    A slot that a pod has shown once (`claims`, slot to uid) belongs to that pod in this epoch, even after its death.
    """
    members = tuple(members)
    standing = _standing(members, plan, gang_id, epoch)
    free = _free_slots(plan, standing, claims)
    own = {uid: slot for slot, uid in claims.items() if slot in plan and slot not in standing}
    seated = {member.uid for member in standing.values()}
    to_send: list[Assignment] = []
    unseated: list[Member] = []
    for member in members:
        if member.uid in seated or member.stage is Stage.BOUND:
            continue
        slot = None if member.foreign_gate else _choose(member, plan, own, free)
        if slot is None:
            unseated.append(member)
        else:
            to_send.append(Assignment(member, slot, plan[slot].node))
    return Seating(standing, tuple(to_send), tuple(unseated))


def _choose(
    member: Member, plan: Mapping[int, Placement], own: Mapping[str, int], free: Mapping[str, deque[int]]
) -> int | None:
    before = own.get(member.uid)
    if before is not None and plan[before].shape == member.shape:
        return before
    slots = free.get(member.shape)
    return slots.popleft() if slots else None


def _standing(members: Iterable[Member], plan: Mapping[int, Placement], gang_id: str, epoch: str) -> dict[int, Member]:
    standing: dict[int, Member] = {}
    for member in members:
        ticket = member.ticket
        if ticket is None or not member.holds(gang_id, epoch):
            continue
        placement = plan.get(ticket.slot)
        if placement is None or placement.node != ticket.node:
            continue
        rival = standing.get(ticket.slot)
        if rival is None or (member.stage is Stage.BOUND and rival.stage is not Stage.BOUND):
            standing[ticket.slot] = member
    return standing


def _free_slots(
    plan: Mapping[int, Placement], standing: Mapping[int, Member], claims: Mapping[int, str]
) -> dict[str, deque[int]]:
    free: dict[str, deque[int]] = {}
    for slot in sorted(plan):
        if slot not in standing and slot not in claims:
            free.setdefault(plan[slot].shape, deque()).append(slot)
    return free
