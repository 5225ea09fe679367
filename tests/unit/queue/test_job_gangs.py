"""The gang of a job, phase by phase: made before its pods, and taken back together with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bones.gang_views import EPOCH, SHAPE, TERM, make_gang, make_member, make_plan, make_view
from bones.job_views import GANG_OF_JOB, make_job
from muster_api.gangs import Evicting, Gang, GangOwner
from muster_api.jobs import FailureClass, JobGang
from muster_api.names import GPU_RESOURCE
from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_api.tickets import Ticket, parse_epoch
from muster_queue.controller.job_gangs import decide_job_gang
from muster_queue.controller.job_members import end_of_attempt
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.steps import (
    CreatePods,
    Decision,
    DeleteGang,
    DeletePods,
    EvictMembers,
    Move,
)
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView
from muster_queue.jobs.failures import PodState
from muster_queue.jobs.templates import JobTemplate, template_of
from muster_queue.jobs.wants import Stop, Wants

PATIENCE = Patience()
SIZE = 3
STOP = Stop(Reason.MEMBER_FAILED, "pod train-1-0 failed")
TEMPLATE = replace(
    template_of(make_job(gang=JobGang(enabled=True, min_members=SIZE)), None, None, (GPU_RESOURCE,)), shape=SHAPE
)
PLACE = Wants(place=True, again=True)


def job_gang(
    phase: GangPhase,
    *,
    owner: str = "job-uid",
    term: int = TERM,
    plan: dict[int, Placement] | None = None,
    **status: Any,
) -> Gang:
    planned = (plan or make_plan(SIZE)) if phase is not GangPhase.PENDING else None
    gang = make_gang(phase, plan=planned, term=term, **({"attempt": 1} | status))
    spec = msgspec.structs.replace(gang.spec, id=GANG_OF_JOB, owner=GangOwner(kind="AIJob", name="train", uid=owner))
    return msgspec.structs.replace(gang, spec=spec)


def pod(slot: int, stage: Stage = Stage.OPEN, *, epoch: str = EPOCH, **changes: Any) -> Member:
    ticket = Ticket(GANG_OF_JOB, parse_epoch(epoch), slot, "n1")
    given = {"stage": stage, "ticket": ticket, "ticket_text": "v1.job-", "label": "aijob-train", "state": PodState()}
    node = {} if stage is Stage.OPEN else {"node": "n1"}
    return make_member(f"train-1-{slot}", **(given | node | changes))


def decide(view: GangView, wants: Wants = PLACE, template: JobTemplate | None = TEMPLATE, now: float = 0.0) -> Decision:
    return decide_job_gang(view, wants, template, PATIENCE, now)


def moved_to(decision: Decision) -> GangPhase | None:
    return decision.step.status.phase if isinstance(decision.step, Move) else None


def test_a_gang_is_planned_before_it_has_any_pod() -> None:
    decision = decide(make_view(job_gang(GangPhase.PENDING), ()))
    assert decision.step is None
    assert decision.ordered is TEMPLATE


def test_nothing_is_planned_while_a_pod_of_an_earlier_epoch_is_left() -> None:
    """However late a leader that died had asked for it."""
    stray = pod(0, epoch="1-9")
    decision = decide(make_view(job_gang(GangPhase.PENDING), (stray,)))
    assert isinstance(decision.step, DeletePods)
    going = decide(make_view(job_gang(GangPhase.PENDING), (pod(0, epoch="1-9", deleting=True),)))
    assert going.step is None
    assert going.ordered is None


@pytest.mark.parametrize(
    ("gang", "wants", "template"),
    [
        pytest.param(job_gang(GangPhase.PENDING, owner="an earlier job"), PLACE, TEMPLATE, id="of another job"),
        pytest.param(job_gang(GangPhase.PENDING), PLACE, replace(TEMPLATE, priority=80), id="of another priority"),
        pytest.param(job_gang(GangPhase.PENDING), Wants(stop=STOP), TEMPLATE, id="of a job that is over"),
        pytest.param(job_gang(GangPhase.PENDING), Wants(), None, id="without a job"),
        pytest.param(job_gang(GangPhase.FAILED), Wants(), None, id="failed, without a job"),
    ],
)
def test_a_gang_goes_that_is(gang: Gang, wants: Wants, template: JobTemplate | None) -> None:
    assert isinstance(decide(make_view(gang, ()), wants, template).step, DeleteGang)


def test_a_held_gang_stays_and_waits() -> None:
    decision = decide(make_view(job_gang(GangPhase.PENDING), ()), Wants(stop=STOP, again=True))
    assert (decision.step, decision.ordered) == (None, None)


def test_only_the_pods_that_are_missing_are_made() -> None:
    view = make_view(job_gang(GangPhase.RESERVED), (pod(0),))
    decision = decide(replace(view, awaited={1: "u-train-1-1"}))
    assert isinstance(decision.step, CreatePods)
    assert decision.step.slots == ((2, "n1"),)
    assert decision.step.released is not None
    assert decision.step.released.phase is GangPhase.RELEASED


def test_a_gang_with_all_its_pods_is_released() -> None:
    view = make_view(job_gang(GangPhase.RESERVED), (pod(0), pod(1), pod(2)))
    assert moved_to(decide(view)) is GangPhase.RELEASED


@pytest.mark.parametrize(
    ("view", "wants", "template", "reason"),
    [
        pytest.param(
            make_view(job_gang(GangPhase.RELEASED), (pod(0), pod(1)), claims={2: "u-gone"}),
            PLACE, TEMPLATE, Reason.MEMBER_DELETED, id="a pod was deleted",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RESERVED), ()), Wants(stop=STOP, again=True), TEMPLATE, STOP.reason,
            id="the job wants it back",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RESERVED), ()), PLACE, replace(TEMPLATE, shape="other"),
            Reason.STALE_RESERVATION, id="the job asks for something else",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RESERVED, term=1), ()), PLACE, TEMPLATE, Reason.STALE_RESERVATION,
            id="another leader's reservation",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RESERVED), (), unfit={Placement("n1", SHAPE): Reason.NODE_LOST}),
            PLACE, TEMPLATE, Reason.NODE_LOST, id="a node is lost",
        ),
        pytest.param(make_view(job_gang(GangPhase.RESERVED), ()), Wants(), None, Reason.JOB_DELETED, id="no job"),
    ],
)  # fmt: skip
def test_a_reservation_is_taken_back(
    view: GangView, wants: Wants, template: JobTemplate | None, reason: Reason
) -> None:
    decision = decide(view, wants, template)
    assert moved_to(decision) is GangPhase.PENDING
    assert isinstance(decision.step, Move)
    assert decision.step.abort is not None
    assert decision.step.abort.reason is reason
    assert decision.step.status.attempt == 1, "nothing has run: the attempt is still to come"


def test_all_bound_means_running() -> None:
    bound = tuple(pod(slot, Stage.BOUND) for slot in range(SIZE))
    assert moved_to(decide(make_view(job_gang(GangPhase.COMMITTED), bound))) is GangPhase.RUNNING
    assert moved_to(decide(make_view(job_gang(GangPhase.COMMITTED), (*bound[:2], pod(2))))) is None


def test_all_done_means_succeeded() -> None:
    done = tuple(pod(slot, Stage.SUCCEEDED) for slot in range(SIZE))
    assert moved_to(decide(make_view(job_gang(GangPhase.RUNNING), done))) is GangPhase.SUCCEEDED
    assert moved_to(decide(make_view(job_gang(GangPhase.RUNNING), (*done[:2], pod(2, Stage.BOUND))))) is None


def test_a_failure_is_acted_on_only_once_it_is_on_record() -> None:
    members = (pod(0, Stage.FAILED, state=PodState(exit_code=1)), pod(1, Stage.BOUND), pod(2, Stage.BOUND))
    view = make_view(job_gang(GangPhase.RUNNING), members)
    assert moved_to(decide(view)) is None
    assert moved_to(decide(view, Wants(stop=STOP, again=True))) is GangPhase.EVICTING


@pytest.mark.parametrize(("again", "left"), [(True, {0, 1}), (False, {1})], ids=["another attempt", "the last one"])
def test_an_eviction_keeps_the_failed_pods_of_the_last_attempt_alone(*, again: bool, left: set[int]) -> None:
    gang = job_gang(GangPhase.EVICTING, evicting=Evicting(by="MemberFailed", epoch=EPOCH))
    failed, running = pod(0, Stage.FAILED), pod(1, Stage.BOUND)
    wants = Wants(stop=STOP, again=again)
    first = decide(make_view(gang, (failed, running)), wants)
    assert isinstance(first.step, DeletePods)
    assert [member.name for member in first.step.members] == (["train-1-1", "train-1-0"] if again else ["train-1-1"])
    then = decide(make_view(gang, (failed,)), wants)
    if again:
        assert isinstance(then.step, DeletePods)
        assert moved_to(decide(make_view(gang, ()), wants)) is GangPhase.PENDING
    else:
        assert moved_to(then) is GangPhase.FAILED


@pytest.mark.parametrize(("by", "step"), [("Preempted", EvictMembers), ("RunTimeout", DeletePods)])
def test_disruption_budgets_are_asked_only_for_what_others_need_the_room_for(by: str, step: type) -> None:
    gang = job_gang(GangPhase.EVICTING, evicting=Evicting(by=by, epoch=EPOCH))
    made = decide(make_view(gang, (pod(0, Stage.BOUND),)), Wants(stop=STOP, again=True))
    assert isinstance(made.step, step)


def test_the_next_attempt_has_the_next_number() -> None:
    gang = job_gang(GangPhase.EVICTING, evicting=Evicting(by="MemberFailed", epoch=EPOCH), attempt=3)
    step = decide(make_view(gang, ()), Wants(stop=STOP, again=True)).step
    assert isinstance(step, Move)
    assert step.status.attempt == 4
    assert parse_epoch(step.status.epoch) > parse_epoch(EPOCH)


def test_pods_on_a_dead_node_are_given_up_after_a_while() -> None:
    gang = job_gang(GangPhase.EVICTING, evicting=Evicting(by="NodeLost", epoch=EPOCH))
    stuck = pod(0, Stage.BOUND, deleting=True)
    view = make_view(gang, (stuck,), unfit={Placement("n1", SHAPE): Reason.NODE_LOST})
    wants = Wants(stop=STOP, again=True)
    assert decide(view, wants, now=PATIENCE.lost_node - 1).step is None
    given_up = decide(view, wants, now=PATIENCE.lost_node).step
    assert isinstance(given_up, DeletePods)
    assert given_up.is_forced


BOUND = (pod(1, Stage.BOUND), pod(2, Stage.BOUND))
LOST = {Placement("n1", SHAPE): Reason.NODE_LOST}
SPREAD = make_plan(SIZE, "n2") | make_plan(1)


@pytest.mark.parametrize(
    ("view", "failure"),
    [
        pytest.param(
            make_view(job_gang(GangPhase.RUNNING), (pod(0, Stage.FAILED, state=PodState(exit_code=1)), *BOUND)),
            FailureClass.EXIT_CODE, id="a member failed",
        ),
        pytest.param(make_view(job_gang(GangPhase.RUNNING), BOUND), FailureClass.DELETED, id="a member is gone"),
        pytest.param(
            make_view(job_gang(GangPhase.RUNNING), (pod(0, Stage.BOUND, deleting=True), *BOUND)),
            FailureClass.DELETED, id="a member is being deleted",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RUNNING), (pod(0, Stage.BOUND, deleting=True), *BOUND), unfit=LOST),
            FailureClass.NODE_LOST, id="a member is deleted from a dead node",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RUNNING), (pod(0, Stage.BOUND), *BOUND), unfit=LOST, now=30.0),
            FailureClass.NODE_LOST, id="a node is silent for too long",
        ),
        pytest.param(
            make_view(
                job_gang(GangPhase.RUNNING, plan=SPREAD), (pod(0, Stage.SUCCEEDED), *BOUND), unfit=LOST, now=30.0
            ),
            None, id="a node is silent on which nobody runs any more",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.COMMITTED), (pod(0), *BOUND), now=60.0), FailureClass.BROKEN,
            id="a member does not bind",
        ),
        pytest.param(
            make_view(
                job_gang(GangPhase.RUNNING),
                (pod(0, Stage.BOUND, state=PodState(image_problem="ErrImagePull")), *BOUND), now=20.0,
            ),
            FailureClass.IMAGE, id="an image cannot be pulled",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.EVICTING, evicting=Evicting(by="Preempted", epoch=EPOCH)), BOUND),
            FailureClass.PREEMPTED, id="somebody ordered it down",
        ),
        pytest.param(
            make_view(job_gang(GangPhase.RUNNING), (pod(0, Stage.SUCCEEDED), *BOUND)), None, id="one is done already"
        ),
        pytest.param(make_view(job_gang(GangPhase.RELEASED), ()), None, id="nothing has run yet"),
    ],
)  # fmt: skip
def test_what_ends_an_attempt(view: GangView, failure: FailureClass | None) -> None:
    end = end_of_attempt(view, PATIENCE, 60.0)
    assert (end.failure if end is not None else None) is failure
