"""What a gang without room does next, and what it says."""

from __future__ import annotations

import msgspec
import pytest

from bones.gang_views import bound, make_gang, make_member, make_view, released
from muster_api.gangs import GangOwner
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller.deciding import decide, decide_unmanaged, decide_without_gang
from muster_queue.controller.members import Member, Problem, Stage
from muster_queue.controller.roster import call_roll
from muster_queue.controller.steps import CreateGang, DeleteGang, Move
from muster_queue.controller.timing import Patience

PATIENCE = Patience()
PROBLEM = Problem(Reason.UNSUPPORTED_CONSTRAINT, "pod c: hostPort")
UNREADABLE = Problem(Reason.INCONSISTENT_MEMBERS, "pod a: gang-size is missing")


def three(**changes: object) -> list[Member]:
    return [make_member(name, **changes) for name in "abc"]


@pytest.mark.parametrize(
    ("members", "want_reason", "want_words"),
    [
        pytest.param([make_member("a"), make_member("b")], Reason.WAITING_FOR_MEMBERS, "2 of 3 members", id="too few"),
        pytest.param(
            [*three()[:2], make_member("c", deleting=True)],
            Reason.WAITING_FOR_MEMBERS,
            "2 of 3",
            id="one that is being deleted does not count",
        ),
        pytest.param(
            [*three()[:2], make_member("c", stage=Stage.SUCCEEDED)],
            Reason.WAITING_FOR_MEMBERS,
            "2 of 3",
            id="one that has completed does not count",
        ),
        pytest.param(
            [*three()[:2], make_member("c", size=4, minimum=4)],
            Reason.INCONSISTENT_MEMBERS,
            "pod c says gang-size 4",
            id="one that says another size is named",
        ),
        pytest.param(
            [*three()[:2], make_member("c", problem=PROBLEM)],
            Reason.UNSUPPORTED_CONSTRAINT,
            "hostPort",
            id="one with a constraint that is not planned for",
        ),
        pytest.param(
            [*three()[:2], make_member("c", foreign_gate="other/gate")],
            Reason.FOREIGN_GATE,
            "other/gate",
            id="one behind a foreign gate",
        ),
    ],
)
def test_a_gang_that_cannot_be_planned_says_why(members: list[Member], want_reason: Reason, want_words: str) -> None:
    decision = decide(make_view(make_gang(), members), PATIENCE, 0.0)
    assert decision.step is None
    assert not decision.wanted
    assert decision.report is not None
    assert decision.report.reason is want_reason
    assert want_words in decision.report.message


def test_a_complete_gang_wants_a_place_for_all_its_members() -> None:
    decision = decide(make_view(make_gang(), three()), PATIENCE, 0.0)
    assert [member.name for member in decision.wanted] == ["a", "b", "c"]
    assert not decision.is_growth


def test_an_elastic_gang_wants_places_for_as_many_as_exist() -> None:
    members = three(size=5, minimum=2)
    decision = decide(make_view(make_gang(members=5, minimum=2), members), PATIENCE, 0.0)
    assert len(decision.wanted) == 3


def test_surplus_members_are_left_out_the_youngest_first() -> None:
    members = [*three(), make_member("d", created="2025-01-01T00:00:00Z")]
    roster = call_roll(members, make_gang())
    assert [member.name for member in roster.counted] == ["d", "a", "b"]
    assert [member.name for member in roster.surplus] == ["c"]


def test_members_that_were_let_go_are_never_surplus() -> None:
    members = [make_member("a"), released("b", 0), bound("c", 1), make_member("d")]
    roster = call_roll(members, make_gang())
    assert [member.name for member in roster.counted] == ["c", "b", "a"]


def test_a_gang_without_pods_is_deleted() -> None:
    assert isinstance(decide(make_view(make_gang(), []), PATIENCE, 0.0).step, DeleteGang)


def test_a_gang_is_made_anew_when_its_first_member_says_something_else() -> None:
    members = three(size=2, minimum=2)
    assert isinstance(decide(make_view(make_gang(), members), PATIENCE, 0.0).step, DeleteGang)


def test_members_bound_before_the_object_was_made_are_adopted_without_slots() -> None:
    step = decide(make_view(make_gang(), [bound("a", 0, epoch="1-1"), *three()[1:]]), PATIENCE, 0.0).step
    assert isinstance(step, Move)
    assert step.status.phase is GangPhase.RUNNING
    assert step.status.plan == ()


@pytest.mark.parametrize("phase", [GangPhase.SUCCEEDED, GangPhase.FAILED])
def test_an_ended_gang_stays_as_long_as_its_pods_and_makes_way_for_new_ones(phase: GangPhase) -> None:
    gang = make_gang(phase)
    ended = [make_member("a", stage=Stage.SUCCEEDED)]
    assert decide(make_view(gang, ended), PATIENCE, 0.0).step is None
    assert isinstance(decide(make_view(gang, []), PATIENCE, 0.0).step, DeleteGang)
    assert isinstance(decide(make_view(gang, [*ended, make_member("new")]), PATIENCE, 0.0).step, DeleteGang)


def test_the_oldest_member_that_can_be_read_speaks_for_a_new_gang() -> None:
    members = [
        make_member("a", problem=UNREADABLE, created="2020-01-01T00:00:00Z"),
        make_member("b"),
        make_member("c", created="2025-01-01T00:00:00Z"),
    ]
    step = decide_without_gang(call_roll(members, make_gang())).step
    assert isinstance(step, CreateGang)
    assert step.first.name == "c"


def test_no_gang_is_made_while_nobody_can_speak_for_it() -> None:
    members = [make_member("a", problem=UNREADABLE), make_member("b", deleting=True)]
    assert decide_without_gang(call_roll(members, make_gang())).step is None


def test_members_that_cannot_be_planned_for_have_a_gang_that_says_so() -> None:
    members = [make_member(name, problem=PROBLEM) for name in ("a", "b", "c")]
    assert isinstance(decide_without_gang(call_roll(members, make_gang())).step, CreateGang)


def test_where_the_namespace_has_lost_its_label_nobody_is_planned_and_the_gang_says_so() -> None:
    view = make_view(make_gang(), three())
    decision = decide_unmanaged(decide(view, PATIENCE, 0.0), view)
    assert decision.wanted == ()
    assert decision.report is not None
    assert decision.report.reason is Reason.NAMESPACE_NOT_MANAGED
    assert "aiplatform.example.com/managed=true" in decision.report.message


def test_a_gang_under_way_goes_on_although_its_namespace_has_lost_its_label() -> None:
    view = make_view(make_gang(GangPhase.RUNNING), [])
    decision = decide(view, PATIENCE, 0.0)
    assert isinstance(decision.step, DeleteGang)
    assert decide_unmanaged(decision, view) == decision


@pytest.mark.parametrize("phase", [GangPhase.PENDING, GangPhase.FAILED, GangPhase.SUCCEEDED])
def test_a_gang_of_pods_that_name_an_aijob_as_their_owner_is_a_plain_gang_all_the_same(phase: GangPhase) -> None:
    gang = make_gang(phase)
    owner = GangOwner(kind="AIJob", name="forged", uid="nobody")
    gang = msgspec.structs.replace(gang, spec=msgspec.structs.replace(gang.spec, owner=owner))
    assert isinstance(decide(make_view(gang, []), PATIENCE, 0.0).step, DeleteGang)
