"""What a committed gang does next: forward, with members lost and replaced, to its end or back to the start."""

from __future__ import annotations

import pytest

from bones.gang_views import TERM, TIME, bound, make_gang, make_member, make_plan, make_view, released
from muster_api.gangs import Evicting, Gang
from muster_api.phases import GangPhase
from muster_api.plans import Placement, decode_plan
from muster_api.reasons import Reason
from muster_queue.controller.deciding import decide
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.statuses import with_report
from muster_queue.controller.steps import Decision, DeleteGang, EvictMembers, Move, SendTickets
from muster_queue.controller.timing import Patience

PATIENCE = Patience(repair=60, trim=3)
COMMITTED = make_gang(GangPhase.COMMITTED, plan=make_plan(3))
RUNNING = make_gang(GangPhase.RUNNING, plan=make_plan(3))


def all_bound() -> list[Member]:
    return [bound(name, slot) for slot, name in enumerate("abc")]


def move_of(decision: Decision) -> Move:
    assert isinstance(decision.step, Move)
    return decision.step


def test_all_bound_is_running_and_scheduled() -> None:
    status = move_of(decide(make_view(COMMITTED, all_bound()), PATIENCE, 0.0)).status
    assert status.phase is GangPhase.RUNNING
    assert status.bound == 3
    assert [(c.type, c.status) for c in status.conditions] == [("Scheduled", "True")]


def test_while_some_are_bound_it_waits_for_the_others() -> None:
    decision = decide(make_view(COMMITTED, [*all_bound()[:2], released("c", 2)]), PATIENCE, 20.0)
    assert decision.step is None
    assert decision.report is not None
    assert decision.report.reason is Reason.BINDING
    assert decision.recheck_after == pytest.approx(40.0)


def test_slots_that_nobody_came_for_expire_with_the_move_to_running() -> None:
    gang = make_gang(GangPhase.COMMITTED, minimum=2, plan=make_plan(3))
    members = [bound(name, slot, minimum=2) for slot, name in enumerate("ab")]
    status = move_of(decide(make_view(gang, members), PATIENCE, 0.0)).status
    assert sorted(decode_plan(status.plan)) == [0, 1]


def test_too_few_bound_past_the_repair_deadline_is_evicted_whole() -> None:
    view = make_view(COMMITTED, [*all_bound()[:2], released("c", 2)], now=61.0)
    status = move_of(decide(view, PATIENCE, 61.0)).status
    assert status.phase is GangPhase.EVICTING
    assert status.evicting == Evicting(by=Reason.GANG_BROKEN, epoch="2-1")


def test_an_owner_who_keeps_a_broken_gang_is_told_once() -> None:
    members = [bound("a", 0, keeps_broken=True), bound("b", 1), released("c", 2)]
    step = move_of(decide(make_view(COMMITTED, members, now=61.0), PATIENCE, 61.0))
    assert step.status.phase is GangPhase.RUNNING
    assert ("Healthy", "False") in [(c.type, c.status) for c in step.status.conditions]
    told = make_gang(GangPhase.RUNNING, plan=make_plan(3), conditions=step.status.conditions)
    again = decide(make_view(told, members, now=61.0), PATIENCE, 61.0)
    assert again.step is None


def test_nothing_bound_and_nothing_lost_is_waited_for() -> None:
    members = [released(name, slot) for slot, name in enumerate("abc")]
    decision = decide(make_view(COMMITTED, members, now=500.0), PATIENCE, 500.0)
    assert decision.step is None


def test_a_replacement_wants_a_place_of_its_own_and_the_lost_slot_goes_first() -> None:
    members = [*all_bound()[:2], make_member("d")]
    gone = make_view(RUNNING, members, claims={2: "u-c"})
    step = move_of(decide(gone, PATIENCE, 1.0))
    assert sorted(decode_plan(step.status.plan)) == [0, 1]
    trimmed = make_gang(GangPhase.RUNNING, plan=make_plan(2))
    decision = decide(make_view(trimmed, members), PATIENCE, 1.0)
    assert decision.is_growth
    assert [member.name for member in decision.wanted] == ["d"]


def test_a_failed_pod_that_still_exists_keeps_its_slot_beside_its_replacement() -> None:
    members = [*all_bound()[:2], bound("c", 2, stage=Stage.FAILED), make_member("d")]
    decision = decide(make_view(RUNNING, members), PATIENCE, 1.0)
    assert decision.step is None
    assert [member.name for member in decision.wanted] == ["d"]


def test_a_grown_slot_is_ticketed_only_by_the_leader_that_planned_it() -> None:
    members = [*all_bound()[:2], make_member("d")]
    plan = {**make_plan(2), 3: Placement("n2", "shape")}
    ours = decide(make_view(make_gang(GangPhase.RUNNING, plan=plan), members), PATIENCE, 0.0)
    assert isinstance(ours.step, SendTickets)
    assert [(sent.member.name, sent.slot) for sent in ours.step.assignments] == [("d", 3)]
    theirs = decide(make_view(make_gang(GangPhase.RUNNING, plan=plan, term=TERM - 1), members), PATIENCE, 0.0)
    assert sorted(decode_plan(move_of(theirs).status.plan)) == [0, 1]


def test_slot_numbers_once_used_are_remembered_when_the_last_one_is_given_back() -> None:
    gang = make_gang(GangPhase.RUNNING, minimum=2, plan=make_plan(3))
    members = [bound(name, slot, minimum=2) for slot, name in enumerate("ab")]
    status = move_of(decide(make_view(gang, members, claims={2: "u-c"}, now=4.0), PATIENCE, 4.0)).status
    assert [c.message for c in status.conditions if c.type == "SlotsUsed"] == ["2-1 3"]


def test_a_running_gang_short_of_members_is_evicted_after_the_repair_deadline() -> None:
    view = make_view(RUNNING, all_bound()[:2], claims={2: "u-c"}, now=61.0)
    assert move_of(decide(view, PATIENCE, 61.0)).status.phase is GangPhase.EVICTING
    earlier = make_view(RUNNING, all_bound()[:2], claims={2: "u-c"}, now=30.0)
    assert decide(earlier, PATIENCE, 30.0).step is None


def test_members_that_succeeded_are_not_missing() -> None:
    members = [*all_bound()[:1], bound("b", 1, stage=Stage.SUCCEEDED)]
    decision = decide(make_view(RUNNING, members, finished=1, claims={2: "u-c"}, now=500.0), PATIENCE, 500.0)
    assert not isinstance(decision.step, Move) or decision.step.status.phase is GangPhase.RUNNING


def test_members_that_succeeded_are_not_missing_for_a_controller_that_never_saw_their_pods() -> None:
    seen = [*all_bound()[:2], bound("c", 2, stage=Stage.SUCCEEDED)]
    report = decide(make_view(RUNNING, seen), PATIENCE, 1.0).report
    assert report is not None
    told = with_report(RUNNING.status, report, "2026-01-01T00:00:00Z")
    gang = make_gang(GangPhase.RUNNING, plan=make_plan(3), conditions=told.conditions)
    later = make_view(gang, all_bound()[:2], now=500.0)
    assert later.roster.done == 1
    decision = decide(later, PATIENCE, 500.0)
    assert not isinstance(decision.step, Move) or decision.step.status.phase is GangPhase.RUNNING
    strangers = make_view(gang, [make_member("x"), make_member("y")])
    assert strangers.roster.done == 0, "new pods of the label are another gang's beginning"


@pytest.mark.parametrize(
    ("last", "want_phase"), [(Stage.SUCCEEDED, GangPhase.SUCCEEDED), (Stage.FAILED, GangPhase.FAILED)]
)
@pytest.mark.parametrize("gang", [COMMITTED, RUNNING], ids=["committed", "running"])
def test_when_all_have_ended_the_gang_ends(gang: Gang, last: Stage, want_phase: GangPhase) -> None:
    members = [bound(name, slot, stage=Stage.SUCCEEDED) for slot, name in enumerate("ab")]
    members.append(bound("c", 2, stage=last))
    status = move_of(decide(make_view(gang, members), PATIENCE, 0.0)).status
    assert status.phase is want_phase
    assert status.plan == ()


def test_a_late_member_whose_node_is_lost_gets_another_place_and_a_lesson() -> None:
    plan = {**make_plan(2), 3: Placement("n2", "shape")}
    members = [*all_bound()[:2], released("d", 3, "n2")]
    gang = make_gang(GangPhase.RUNNING, plan=plan)
    decision = decide(make_view(gang, members, unfit={Placement("n2", "shape"): Reason.NODE_LOST}), PATIENCE, 0.0)
    assert sorted(decode_plan(move_of(decision).status.plan)) == [0, 1]
    assert decision.lessons["u-d"].node == "n2"


EVICTING = make_gang(GangPhase.EVICTING, plan=make_plan(3), evicting=Evicting(by="GangBroken", epoch="2-1"))


def test_every_pod_of_the_epoch_is_evicted_and_nobody_else() -> None:
    members = [bound("a", 0), released("b", 1), bound("c", 2, deleting=True), make_member("d")]
    step = decide(make_view(EVICTING, members), PATIENCE, 0.0).step
    assert isinstance(step, EvictMembers)
    assert sorted(member.name for member in step.members) == ["a", "b"]


def test_the_gang_begins_anew_once_no_pod_of_the_epoch_is_left() -> None:
    status = move_of(decide(make_view(EVICTING, [make_member("d")]), PATIENCE, 0.0)).status
    assert status.phase is GangPhase.PENDING
    assert status.epoch == "2-2"
    assert isinstance(decide(make_view(EVICTING, []), PATIENCE, 0.0).step, DeleteGang)


BEFORE = "1-7"
"""The epoch of an earlier run under the same label, whose pods are still there."""


def test_pods_that_an_earlier_run_has_left_behind_do_not_count_as_done() -> None:
    gang = make_gang(GangPhase.RUNNING, plan=make_plan(3), committed_at=TIME)
    old = [bound(f"old-{slot}", slot, epoch=BEFORE, stage=Stage.SUCCEEDED) for slot in range(3)]
    new = [bound("a", 0), released("b", 1), released("c", 2)]
    waiting = decide(make_view(gang, [*old, *new]), PATIENCE, 0.0)
    assert waiting.report is not None
    assert waiting.report.reason is Reason.GANG_BROKEN
    step = move_of(decide(make_view(gang, [*old, *new], now=61.0), PATIENCE, 61.0))
    assert step.status.phase is GangPhase.EVICTING


def test_pods_bound_before_their_gang_was_made_count_when_they_have_ended() -> None:
    members = [bound(name, 0, ticket=None, stage=Stage.SUCCEEDED) for name in "ab"]
    members.append(bound("c", 2, ticket=None))
    decision = decide(make_view(make_gang(GangPhase.RUNNING), members, now=500.0), PATIENCE, 500.0)
    assert decision.step is None
    assert decision.report is not None
    assert decision.report.reason is Reason.SCHEDULED


def test_a_gang_of_which_only_an_earlier_run_is_left_goes() -> None:
    gang = make_gang(GangPhase.RUNNING, plan=make_plan(3), committed_at=TIME)
    old = [bound(f"old-{slot}", slot, epoch=BEFORE, stage=Stage.FAILED) for slot in range(3)]
    assert isinstance(decide(make_view(gang, old), PATIENCE, 0.0).step, DeleteGang)


def replaced(**changes: object) -> list[Member]:
    return [make_member(f"new-{name}", **changes) for name in "abc"]


@pytest.mark.parametrize("gang", [COMMITTED, RUNNING], ids=["committed", "running"])
def test_a_gang_replaced_as_a_whole_waits_for_its_old_pods_and_grows_by_nobody(gang: Gang) -> None:
    going = [bound(name, slot, deleting=True) for slot, name in enumerate("abc")]
    decision = decide(make_view(gang, [*going, *replaced()], now=100.0), PATIENCE, 100.0)
    assert (decision.step, decision.wanted) == (None, ())
    assert decision.report is not None
    assert decision.report.reason is Reason.MEMBER_DELETED


@pytest.mark.parametrize(("gang", "wait"), [(COMMITTED, 60.0), (RUNNING, 3.0)], ids=["committed", "running"])
@pytest.mark.parametrize("size", [3, 8], ids=["as before", "with another size"])
def test_once_the_old_pods_are_gone_the_label_begins_anew(gang: Gang, wait: float, size: int) -> None:
    members = replaced(size=size, minimum=size)
    early = decide(make_view(gang, members, now=wait - 1), PATIENCE, wait - 1)
    assert (early.step, early.wanted) == (None, ())
    assert early.recheck_after == pytest.approx(1.0)
    assert isinstance(decide(make_view(gang, members, now=wait), PATIENCE, wait).step, DeleteGang)


def test_the_missing_rest_of_a_gang_that_is_partly_done_joins_it() -> None:
    members = [bound(name, slot, stage=Stage.SUCCEEDED) for slot, name in enumerate("ab")]
    gone = [bound("c", 2, stage=Stage.FAILED), make_member("d")]
    decision = decide(make_view(RUNNING, [*members, *gone], now=10.0), PATIENCE, 10.0)
    assert [member.name for member in decision.wanted] == ["d"]


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([released("a", 0), released("b", 1), make_member("new-c")], id="a member was replaced"),
        pytest.param(
            [released("a", 0), released("b", 1), released("c", 2, refusal="Insufficient cpu")],
            id="a member is refused",
        ),
    ],
)
def test_a_commit_that_cannot_be_bound_any_more_is_taken_back(members: list[Member]) -> None:
    assert decide(make_view(COMMITTED, members, now=59.0), PATIENCE, 59.0).step is None
    assert move_of(decide(make_view(COMMITTED, members, now=60.0), PATIENCE, 60.0)).status.phase is GangPhase.EVICTING


def test_a_replacement_that_cannot_be_released_does_not_put_off_the_end_of_a_broken_gang() -> None:
    members = [*all_bound()[:2], make_member("d")]
    gang = make_gang(GangPhase.RUNNING, plan={**make_plan(2), 3: Placement("n2", "shape")})
    assert isinstance(decide(make_view(gang, members, now=59.0), PATIENCE, 59.0).step, SendTickets)
    assert move_of(decide(make_view(gang, members, now=60.0), PATIENCE, 60.0)).status.phase is GangPhase.EVICTING
