"""Single pods: ticketed, ticketed again by a new leader on the same node, moved when their node fails them."""

from __future__ import annotations

import pytest

from bones.gang_views import make_member
from muster_api.reasons import Reason
from muster_api.tickets import Epoch, Ticket, single_gang
from muster_queue.controller.members import Member, Problem, Stage
from muster_queue.controller.singles import SingleDecision, SingleTiming, advance_single, decide_single
from muster_queue.controller.timing import Patience

PATIENCE = Patience(refusal=3, old_refusal=10)
TERM = 5


def single(**changes: object) -> Member:
    return make_member("s", label="", size=1, minimum=1, **changes)


def ticketed(term: int = TERM, node: str = "n1", **changes: object) -> Member:
    ticket = Ticket(single_gang("u-s"), Epoch(term, 3), 0, node)
    return single(**({"stage": Stage.OPEN, "ticket": ticket, "ticket_text": str(ticket)} | changes))


def decide(
    member: Member, *, lost: str = "", full: str = "", timing: SingleTiming | None = None, now: float = 0.0
) -> SingleDecision:
    def unfit(node: str, shape: str) -> Reason | None:
        return Reason.NODE_LOST if node == lost else None

    def is_overfull(node: str, shape: str) -> bool:
        return node == full

    timing = timing or advance_single(None, member, now)
    return decide_single(member, TERM, timing, unfit, is_overfull, PATIENCE, now)


@pytest.mark.parametrize(
    ("member", "lost", "want"),
    [
        pytest.param(single(), "", SingleDecision(wants_place=True), id="a gated pod wants a place"),
        pytest.param(
            single(stage=Stage.OPEN), "", SingleDecision(wants_place=True), id="so does one from before the label"
        ),
        pytest.param(ticketed(TERM - 1), "", SingleDecision(renew_on="n1"), id="an old ticket is renewed in place"),
        pytest.param(
            ticketed(stage=Stage.GATED), "", SingleDecision(renew_on="n1"), id="a ticket without the gate off as well"
        ),
        pytest.param(single(stage=Stage.BOUND, node="n1"), "", SingleDecision(), id="a bound pod wants nothing"),
        pytest.param(single(deleting=True), "", SingleDecision(), id="nor does one that is being deleted"),
    ],
)
def test_what_a_single_pod_needs(member: Member, lost: str, want: SingleDecision) -> None:
    assert decide(member, lost=lost) == want


def test_a_lost_node_is_avoided_by_the_next_plan() -> None:
    decision = decide(ticketed(), lost="n1")
    assert decision.wants_place
    assert decision.lesson is not None
    assert (decision.lesson.node, decision.lesson.reason) == ("n1", Reason.NODE_LOST)


def test_an_old_ticket_is_not_renewed_where_others_have_the_room() -> None:
    assert decide(ticketed(TERM - 1), full="n1") == SingleDecision(wants_place=True)
    assert decide(ticketed(TERM), full="n1").reason is Reason.BINDING


def test_the_ticket_of_another_pod_is_worth_nothing() -> None:
    assert decide(ticketed(ticket=Ticket(single_gang("u-other"), Epoch(TERM, 3), 0, "n1"))).wants_place


def test_a_refusal_that_lasts_moves_the_pod() -> None:
    first = advance_single(None, ticketed(), 0.0)
    refused = ticketed(refusal="Insufficient cpu")
    timing = advance_single(first, refused, 1.0)
    waiting = decide(refused, timing=timing, now=2.0)
    assert waiting.recheck_after == pytest.approx(2.0)
    moved = decide(refused, timing=advance_single(timing, refused, 4.0), now=4.0)
    assert moved.wants_place
    assert moved.lesson is not None
    assert moved.lesson.reason == Reason.PLACEMENT_REFUSED


def test_a_refusal_from_before_the_ticket_gets_more_time() -> None:
    refused = ticketed(refusal="Insufficient cpu")
    timing = advance_single(None, refused, 0.0)
    assert not decide(refused, timing=timing, now=5.0).wants_place
    assert decide(refused, timing=timing, now=10.0).wants_place


@pytest.mark.parametrize(
    ("member", "want"),
    [
        pytest.param(single(foreign_gate="other/gate"), Reason.FOREIGN_GATE, id="a foreign gate"),
        pytest.param(
            single(problem=Problem(Reason.UNSUPPORTED_CONSTRAINT, "hostPort")),
            Reason.UNSUPPORTED_CONSTRAINT,
            id="a constraint that is not planned for",
        ),
    ],
)
def test_what_holds_a_single_pod_is_told(member: Member, want: Reason) -> None:
    decision = decide(member)
    assert decision.reason is want
    assert not decision.wants_place
