"""Members, Gangs and views with defaults, for tests of what the controller decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from muster_api.gangs import Fence, Gang, GangSpec, GangStatus
from muster_api.objects import ObjectMeta
from muster_api.phases import GangPhase
from muster_api.plans import Placement, encode_plan
from muster_api.reasons import Reason
from muster_api.tickets import Ticket, parse_epoch
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.roster import call_roll
from muster_queue.controller.timing import Timing, advance
from muster_queue.controller.views import GangView, sight

GANG_ID = "abcdefghijklmnop"
TERM = 2
EPOCH = "2-1"
SHAPE = "shape"
TIME = "2026-01-01T00:00:00Z"


def make_member(name: str, **changes: Any) -> Member:
    """A gated member of a gang of three; its uid is `u-<name>`."""
    given: dict[str, Any] = {
        "namespace": "team",
        "name": name,
        "uid": f"u-{name}",
        "version": "1",
        "label": "g",
        "created": TIME,
        "stage": Stage.GATED,
        "shape": SHAPE,
        "size": 3,
        "minimum": 3,
    }
    return Member(**(given | changes))


def make_ticket(slot: int, node: str = "n1", epoch: str = EPOCH, gang: str = GANG_ID) -> Ticket:
    return Ticket(gang, parse_epoch(epoch), slot, node)


def released(name: str, slot: int, node: str = "n1", epoch: str = EPOCH, **changes: Any) -> Member:
    """A member with the ticket of this slot and no gate."""
    ticket = make_ticket(slot, node, epoch)
    return make_member(name, **({"stage": Stage.OPEN, "ticket": ticket, "ticket_text": str(ticket)} | changes))


def bound(name: str, slot: int, node: str = "n1", epoch: str = EPOCH, **changes: Any) -> Member:
    given: dict[str, Any] = {"stage": Stage.BOUND, "node": node, "ticket": make_ticket(slot, node, epoch)}
    return make_member(name, **(given | changes))


def make_plan(slots: int, node: str = "n1") -> dict[int, Placement]:
    return {slot: Placement(node, SHAPE) for slot in range(slots)}


def make_gang(
    phase: GangPhase = GangPhase.PENDING,
    *,
    members: int = 3,
    minimum: int = 3,
    plan: dict[int, Placement] | None = None,
    term: int = TERM,
    priority: int = 50,
    **status: Any,
) -> Gang:
    """A plain gang; `term` is the leader that reserved it, where its phase has a plan."""
    reservation = Fence(term=term, seq=1) if plan is not None else None
    given: dict[str, Any] = {
        "phase": phase,
        "epoch": EPOCH,
        "plan": tuple(encode_plan(plan or {})),
        "reservation": reservation,
    }
    return Gang(
        metadata=ObjectMeta(name="pods-g", namespace="team", uid="gang-uid", resource_version="7"),
        spec=GangSpec(id=GANG_ID, members=members, min_members=minimum, priority=priority),
        status=GangStatus(**(given | status)),
    )


def make_view(
    gang: Gang,
    members: Iterable[Member],
    *,
    seen: float = 0.0,
    now: float = 0.0,
    unfit: dict[Placement, Reason] | None = None,
    claims: dict[int, str] | None = None,
    finished: int = 0,
) -> GangView:
    """What a leader of `TERM` sees that saw the same first at `seen` and looks again at `now`."""
    members = tuple(members)
    shown = {
        member.ticket.slot: member.uid
        for member in members
        if member.ticket is not None and member.holds(gang.spec.id, gang.status.epoch)
    }
    view = GangView(
        gang=gang,
        roster=call_roll(members, gang, finished),
        plan=gang.placements(),
        claims=shown | (claims or {}),
        unfit=unfit or {},
        term=TERM,
        time=TIME,
    )
    first = advance(Timing(gang.status.phase, gang.status.epoch, seen), sight(view), seen)
    return replace(view, timing=advance(first, sight(view), now))
