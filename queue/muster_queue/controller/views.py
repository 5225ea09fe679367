"""One gang with all that a decision about it may look at, frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from muster_api.gangs import Gang
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.roster import Roster
from muster_queue.controller.slots import Seating, seat
from muster_queue.controller.timing import Sighting, Timing


@dataclass(frozen=True, slots=True)
class GangView:
    """`claims` are slots by the uid that showed their ticket in this epoch, `unfit` planned places that are lost."""

    gang: Gang
    roster: Roster
    plan: Mapping[int, Placement] = field(default_factory=dict)
    claims: Mapping[int, str] = field(default_factory=dict)
    unfit: Mapping[Placement, Reason] = field(default_factory=dict)
    term: int = 0
    timing: Timing = field(default_factory=Timing)
    awaited: Mapping[int, str] = field(default_factory=dict)
    """Slots whose pod was made a moment ago and has not been seen yet."""
    time: str = ""
    """Wall time as objects carry it; only ever written down."""

    @property
    def minimum(self) -> int:
        return self.gang.spec.min_members

    @property
    def is_ours(self) -> bool:
        """Whether the plan's open slots were reserved by this leader, or taken over by it."""
        reservation = self.gang.status.reservation
        return reservation is not None and reservation.term == self.term

    def seating(self) -> Seating:
        """Who sits where; computed anew at each call."""
        status = self.gang.status
        return seat(self.roster.counted, self.plan, self.gang.spec.id, status.epoch, self.claims)

    def of_this_epoch(self) -> tuple[Member, ...]:
        """Every pod that is or was let go in this epoch, however it stands now."""
        return self.taking_part(self.roster.everyone())

    def taking_part(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Those of them that are bound, or hold a ticket of this epoch."""
        gang_id, epoch = self.gang.spec.id, self.gang.status.epoch
        return tuple(member for member in members if member.stage is Stage.BOUND or member.holds(gang_id, epoch))

    @property
    def lost_nodes(self) -> list[str]:
        """Nodes that do not answer any more, under members that have not come to their end."""
        if Reason.NODE_LOST not in self.unfit.values():
            return []
        lost = {slot: place.node for slot, place in self.plan.items() if self.unfit.get(place) is Reason.NODE_LOST}
        staying = {member.uid for member in (*self.roster.live, *self.roster.going)}
        return sorted({node for slot, node in lost.items() if slot not in self.claims or self.claims[slot] in staying})

    @property
    def is_abandoned(self) -> bool:
        """Whether its label has come to new pods while nobody of this try lives any more.

        Such pods are a gang that starts, not members that join one. Where some members have come to a good end, new
        pods that could be the missing rest are taken for that.
        """
        live, done = self.roster.live, self.roster.done
        if not live or self.taking_part(live):
            return False
        return not done or done + len(live) > self.gang.spec.members


def is_short(roster: Roster, minimum: int) -> bool:
    """Whether some run, but too few: members that ended well count as there."""
    bound = roster.bound
    return bound > 0 and bound + roster.done < minimum


def sight(view: GangView) -> Sighting:
    """What this look shows of progress and trouble."""
    return Sighting(
        phase=view.gang.status.phase,
        epoch=view.gang.status.epoch,
        progress=view.roster.bound + view.roster.done,
        is_broken=is_short(view.roster, view.minimum),
        is_abandoned=view.is_abandoned,
        is_node_lost=bool(view.lost_nodes),
        is_image_missing=any(m.state is not None and m.state.image_problem != "" for m in view.roster.counted),
        refusals={
            member.uid: member.refusal
            for member in view.roster.counted
            if member.refusal and member.stage is Stage.OPEN
        },
    )
