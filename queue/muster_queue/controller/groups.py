"""All that is known of one gang: its job, its pods, its Gang object, who has claimed which slot, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muster_api.gangs import Gang
from muster_api.jobs import AIJob
from muster_api.names import JOB_GANG_PREFIX
from muster_api.phases import HOLDING_PHASES, GangPhase
from muster_api.plans import Placement, PlanError
from muster_api.tickets import TicketError, parse_epoch
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.roster import has_taken_part

UNDER_WAY = frozenset({GangPhase.COMMITTED, GangPhase.RUNNING})

GroupKey = tuple[str, str]
"""Namespace and name of the Gang object, whether it exists or not."""


@dataclass(slots=True)
class Group:
    """Mutable; only the world writes it."""

    key: GroupKey
    members: dict[str, Member] = field(default_factory=dict)
    finished: int = 0
    gang: Gang | None = None
    plan: dict[int, Placement] = field(default_factory=dict)
    claims: dict[int, str] = field(default_factory=dict)
    held: dict[int, Placement] = field(default_factory=dict)
    """Slots for which room is taken at this moment."""
    reserving: dict[int, Placement] = field(default_factory=dict)
    """Slots whose room is taken although their Gang write is still under way."""
    last: Gang | None = None
    """As it was when it last existed: what its pods take of limits is known from it until they are gone."""
    job: AIJob | None = None
    """The job that the gang is made for, where it is one of ours."""
    awaited: dict[int, str] = field(default_factory=dict)
    """Pods that were made for slots of this epoch, by slot and uid, which no watch has told of yet."""
    unreadable: str = ""
    """What is wrong with the Gang's status, if somebody wrote nonsense into it."""

    @property
    def is_idle(self) -> bool:
        return not self.members and self.gang is None and not self.reserving and self.job is None

    @property
    def is_of_job(self) -> bool:
        """Whether its pods are made by Muster, and not by those who carry a label."""
        return self.key[1].startswith(JOB_GANG_PREFIX)

    def see_gang(self, gang: Gang | None) -> None:
        """The object as it is now; claims are kept while its epoch lasts."""
        before = self.gang
        self.gang = gang
        self.last = gang or self.last
        self.plan, self.unreadable = _read_plan(gang)
        if gang is None or before is None or _try_of(before) != _try_of(gang):
            self.claims = {}
            self.awaited = {}
            self.finished = 0
            for member in self.members.values():
                self.claim(member)

    def see_member(self, member: Member) -> None:
        self.members[member.uid] = member
        self.claim(member)

    def lose_member(self, uid: str) -> Member | None:
        """Its pod is gone; those that succeeded stay counted until nobody is left."""
        member = self.members.pop(uid, None)
        if member is not None and member.stage is Stage.SUCCEEDED and self._is_under_way_with(member):
            self.finished += 1
        if not self.members:
            self.finished = 0
        return member

    def claim(self, member: Member) -> None:
        """The slot of a ticket of this epoch belongs to the pod that shows it, and above all to one that is bound."""
        ticket = member.ticket
        if ticket is None or self.gang is None or not member.holds(self.gang.spec.id, self.gang.status.epoch):
            return
        rival = self.members.get(self.claims.get(ticket.slot, ""))
        if rival is None or rival.uid == member.uid or (member.stage is Stage.BOUND and rival.stage is Stage.OPEN):
            self.claims[ticket.slot] = member.uid
        self.awaited.pop(ticket.slot, None)

    def is_awaited(self, member: Member) -> bool:
        """Whether it is a pod that was just made for a slot of this job's epoch, and no other stands there."""
        ticket, gang = member.ticket, self.gang
        if ticket is None or gang is None or not self.is_of_job or member.stage is not Stage.OPEN or member.deleting:
            return False
        return member.holds(gang.spec.id, gang.status.epoch) and ticket.slot not in self.claims

    def expect(self, gang: Gang, slot: int, uid: str) -> None:
        """A pod was made for this slot: until the watch tells of it, nobody else is made."""
        if self.gang is not None and _try_of(self.gang) == _try_of(gang) and slot not in self.claims:
            self.awaited[slot] = uid

    def wanted_holdings(self) -> Mapping[int, Placement]:
        """The slots that take room by themselves: promised, and not yet by a pod on its node."""
        if self.gang is None or self.gang.status.phase not in HOLDING_PHASES:
            return self.reserving
        open_slots = {slot: place for slot, place in self.plan.items() if self._is_open(slot)}
        return {**open_slots, **self.reserving}

    def _is_under_way_with(self, member: Member) -> bool:
        gang = self.gang
        return gang is not None and gang.status.phase in UNDER_WAY and has_taken_part(member, gang)

    def _is_open(self, slot: int) -> bool:
        uid = self.claims.get(slot)
        if uid is None:
            return True
        member = self.members.get(uid)
        return member is not None and member.is_unbound


def _try_of(gang: Gang) -> tuple[str, str]:
    return gang.spec.id, gang.status.epoch


def _read_plan(gang: Gang | None) -> tuple[dict[int, Placement], str]:
    if gang is None:
        return {}, ""
    try:
        parse_epoch(gang.status.epoch)
        return gang.placements(), ""
    except (PlanError, TicketError) as error:
        return {}, str(error)
