"""What a gang with a reservation does next, and every reason to take the reservation back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bones.gang_views import TERM, bound, make_gang, make_member, make_plan, make_view, released
from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_queue.controller.deciding import decide
from muster_queue.controller.members import Member
from muster_queue.controller.steps import Move, SendTickets
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView

PATIENCE = Patience(release=120, release_per_member=0, refusal=3, old_refusal=10)
RESERVED = make_gang(GangPhase.RESERVED, plan=make_plan(3))
RELEASED = make_gang(GangPhase.RELEASED, plan=make_plan(3))


def all_released(**changes: object) -> list[Member]:
    return [released(name, slot, **changes) for slot, name in enumerate("abc")]


def aborted(view: GangView, now: float = 0.0) -> Move:
    step = decide(view, PATIENCE, now).step
    assert isinstance(step, Move)
    assert step.status.phase is GangPhase.PENDING
    assert step.status.plan == ()
    assert step.status.reservation is None
    assert step.status.aborts is not None
    return step


def test_every_member_gets_the_ticket_of_a_slot_of_its_own() -> None:
    step = decide(make_view(RESERVED, [make_member(name) for name in "abc"]), PATIENCE, 0.0).step
    assert isinstance(step, SendTickets)
    assert sorted(sent.slot for sent in step.assignments) == [0, 1, 2]
    assert step.released is not None
    assert step.released.phase is GangPhase.RELEASED


def test_after_a_crash_only_the_missing_tickets_are_sent() -> None:
    members = [released("a", 2), make_member("b"), released("c", 0)]
    step = decide(make_view(RESERVED, members), PATIENCE, 0.0).step
    assert isinstance(step, SendTickets)
    assert [(sent.member.name, sent.slot) for sent in step.assignments] == [("b", 1)]


def test_when_all_tickets_are_out_the_gang_is_released() -> None:
    step = decide(make_view(RESERVED, all_released()), PATIENCE, 0.0).step
    assert isinstance(step, Move)
    assert step.status.phase is GangPhase.RELEASED
    assert step.status.reason == Reason.WAITING_AT_BARRIER


def test_a_released_gang_waits_and_is_looked_at_again_in_time() -> None:
    decision = decide(make_view(RELEASED, all_released()), PATIENCE, 100.0)
    assert decision.step is None
    assert decision.recheck_after == pytest.approx(20.0)


def test_a_spoilt_ticket_is_written_again_for_the_same_slot() -> None:
    members = [released("a", 0), released("b", 1), make_member("c")]
    step = decide(make_view(RELEASED, members, claims={2: "u-c"}), PATIENCE, 0.0).step
    assert isinstance(step, SendTickets)
    assert [(sent.member.name, sent.slot) for sent in step.assignments] == [("c", 2)]
    assert step.released is None


def two_left() -> GangView:
    return make_view(RELEASED, all_released()[:2], claims={2: "u-c"})


def node_lost() -> GangView:
    return make_view(RELEASED, all_released(), unfit={Placement("n1", "shape"): Reason.NODE_LOST})


def old_term() -> GangView:
    gang = make_gang(GangPhase.RELEASED, plan=make_plan(3), term=TERM - 1)
    return make_view(gang, all_released())


def refused() -> GangView:
    members = [*all_released()[:2], released("c", 2, refusal="0/4 nodes are available: 4 Insufficient cpu.")]
    before = make_view(RELEASED, all_released())
    assert before.timing.refused_since == {}
    return make_view(RELEASED, members, now=11.0)


def too_late() -> GangView:
    return make_view(RELEASED, all_released(), now=121.0)


@pytest.mark.parametrize(
    ("make", "now", "want_reason", "want_node"),
    [
        pytest.param(two_left, 0.0, Reason.MEMBER_DELETED, "", id="a member was deleted"),
        pytest.param(node_lost, 0.0, Reason.NODE_LOST, "n1", id="a planned node was lost"),
        pytest.param(old_term, 0.0, Reason.STALE_RESERVATION, "", id="the reservation is of a leader that is gone"),
        pytest.param(refused, 11.0, Reason.PLACEMENT_REFUSED, "n1", id="kube-scheduler keeps refusing a member"),
        pytest.param(too_late, 121.0, Reason.RELEASE_TIMEOUT, "", id="nobody commits it"),
    ],
)
def test_a_reservation_is_taken_back(
    make: Callable[[], GangView], now: float, want_reason: Reason, want_node: str
) -> None:
    move = aborted(make(), now)
    assert move.status.aborts is not None
    assert move.status.aborts.last is not None
    assert (move.status.aborts.last.reason, move.status.aborts.last.node) == (want_reason, want_node)
    assert move.status.epoch == "2-2"


def test_a_refusal_that_has_not_lasted_is_no_reason() -> None:
    members = [*all_released()[:2], released("c", 2, refusal="Insufficient cpu")]
    assert decide(make_view(RELEASED, members, now=2.0), PATIENCE, 2.0).step is None


def refused_before(now: float) -> GangView:
    """kube-scheduler said no in the try before; while the member is parked at the barrier nobody takes that back."""
    text = "Insufficient cpu"
    view = make_view(RELEASED, [*all_released()[:2], released("c", 2, refusal=text)], now=now)
    return replace(view, timing=replace(view.timing, old_refusals={"u-c": text}))


def test_an_old_refusal_says_nothing_about_a_member_that_waits_at_the_barrier() -> None:
    decision = decide(refused_before(60.0), PATIENCE, 60.0)
    assert decision.step is None
    assert decision.recheck_after == pytest.approx(60.0)
    assert aborted(refused_before(120.0), 120.0).abort is not None


def test_a_large_gang_gives_kube_scheduler_more_time() -> None:
    patience = replace(PATIENCE, release_per_member=1.0)
    members = [*all_released()[:2], released("c", 2, refusal="Insufficient cpu")]
    decision = decide(make_view(RELEASED, members, now=5.0), patience, 5.0)
    assert decision.step is None
    assert decision.recheck_after == pytest.approx(1.0)
    assert decide(make_view(RELEASED, members, now=6.0), patience, 6.0).step is not None


def test_a_refused_pod_without_a_place_does_not_keep_the_leader_looking() -> None:
    """Elastic gangs have members that no slot was found for."""
    gang = make_gang(GangPhase.RELEASED, minimum=2, plan=make_plan(2))
    members = [released(name, slot, minimum=2) for slot, name in enumerate("ab")]
    late = released("c", 0, epoch="2-0", minimum=2, refusal="Insufficient cpu")
    decision = decide(make_view(gang, [*members, late], now=30.0), PATIENCE, 30.0)
    assert decision.recheck_after == pytest.approx(90.0)


def test_an_elastic_gang_survives_the_loss_of_members_above_its_minimum() -> None:
    gang = make_gang(GangPhase.RELEASED, minimum=2, plan=make_plan(3))
    members = [released(name, slot, minimum=2) for slot, name in enumerate("ab")]
    assert decide(make_view(gang, members, claims={2: "u-c"}), PATIENCE, 0.0).step is None


def test_a_bound_member_keeps_its_slot_whatever_else_is_said() -> None:
    seating = make_view(RELEASED, [bound("a", 0), released("b", 0), released("c", 2)]).seating()
    assert seating.standing[0].name == "a"
