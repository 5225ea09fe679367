"""Seating: whatever has happened before, nobody sits on two slots, and no slot is given to two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bones.gang_views import EPOCH, GANG_ID, bound, make_member, make_plan, released
from muster_api.plans import Placement
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.slots import Seating, seat

SHAPES = ("gpu", "cpu")

placements = st.builds(Placement, st.sampled_from(["n1", "n2"]), st.sampled_from(SHAPES))
plans = st.dictionaries(st.integers(0, 9), placements, max_size=8)


@st.composite
def members_of(draw: st.DrawFn) -> list[Member]:
    """Up to ten members: gated, let go with some ticket (of this epoch or another), or bound with it."""
    members = []
    for number in range(draw(st.integers(0, 10))):
        shape = draw(st.sampled_from(SHAPES))
        kind = draw(st.sampled_from(["gated", "open", "bound", "stale"]))
        slot, node = draw(st.integers(0, 9)), draw(st.sampled_from(["n1", "n2"]))
        members.append(_member(f"m{number}", kind, slot, node, shape))
    return members


def _member(name: str, kind: str, slot: int, node: str, shape: str) -> Member:
    match kind:
        case "open":
            return released(name, slot, node, shape=shape)
        case "stale":
            return released(name, slot, node, epoch="1-1", shape=shape)
        case "bound":
            return bound(name, slot, node, shape=shape)
        case _:
            return make_member(name, shape=shape)


def _seat(members: list[Member], plan: dict[int, Placement], claims: dict[int, str] | None = None) -> Seating:
    return seat(members, plan, GANG_ID, EPOCH, claims or {})


@given(members_of(), plans)
def test_every_slot_has_one_member_and_every_member_one_slot(members: list[Member], plan: dict[int, Placement]) -> None:
    seating = _seat(members, plan)
    slots = [*seating.standing, *(sent.slot for sent in seating.to_send)]
    assert len(slots) == len(set(slots))
    seated = [member.uid for member in seating.standing.values()] + [sent.member.uid for sent in seating.to_send]
    assert len(seated) == len(set(seated))
    assert set(slots) <= plan.keys()


@given(members_of(), plans)
def test_a_ticket_goes_to_the_planned_node_and_to_a_member_of_the_slots_shape(
    members: list[Member], plan: dict[int, Placement]
) -> None:
    for sent in _seat(members, plan).to_send:
        assert plan[sent.slot] == Placement(sent.node, sent.member.shape)
        assert sent.member.stage is not Stage.BOUND


@given(members_of(), plans)
def test_nobody_goes_without_a_slot_while_one_of_its_shape_is_free(
    members: list[Member], plan: dict[int, Placement]
) -> None:
    seating = _seat(members, plan)
    taken = {*seating.standing, *(sent.slot for sent in seating.to_send)}
    free = {plan[slot].shape for slot in plan.keys() - taken}
    assert not [member for member in seating.unseated if member.shape in free]


@given(members_of(), plans)
def test_sending_the_tickets_and_looking_again_sends_nothing_more(
    members: list[Member], plan: dict[int, Placement]
) -> None:
    first = _seat(members, plan)
    sent = {
        one.member.uid: released(one.member.name, one.slot, one.node, shape=one.member.shape) for one in first.to_send
    }
    again = _seat([sent.get(member.uid, member) for member in members], plan)
    assert again.to_send == ()
    assert again.standing.keys() == first.standing.keys() | {one.slot for one in first.to_send}


def test_a_slot_that_a_pod_has_shown_is_never_given_to_another() -> None:
    seating = _seat([make_member("new", shape="shape")], make_plan(2), {0: "u-dead", 1: "u-other"})
    assert seating.to_send == ()
    assert [member.name for member in seating.unseated] == ["new"]


def test_a_member_behind_a_foreign_gate_gets_no_ticket() -> None:
    seating = _seat([make_member("a", foreign_gate="other/gate")], make_plan(1))
    assert seating.to_send == ()
