"""A job and its gang, looked at together: the job is written first, and somebody else's gang is not its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bones.gang_views import TERM, TIME, bound, make_gang, make_member
from bones.job_views import START, make_job
from muster_api.gangs import Gang, GangOwner
from muster_api.jobs import AIJob, JobResources
from muster_api.names import GPU_RESOURCE, MANAGED_LABEL
from muster_api.objects import Namespace, ObjectMeta
from muster_api.phases import GangPhase, JobPhase
from muster_api.reasons import Reason
from muster_queue.controller.job_looking import Glance, JobLook, look_at_job
from muster_queue.controller.looking import UNMADE
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.roster import Roster, call_roll
from muster_queue.controller.steps import CreateJobGang, Decision, DeleteGang, DeleteJob, DeletePods, Move, WriteJob
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView
from muster_queue.controller.world import World
from muster_queue.jobs.failures import PodState

KEY = ("team", "aijob-train")


def gang_of(phase: GangPhase, owner: str = "job-uid", **status: Any) -> Gang:
    gang = make_gang(phase, members=1, minimum=1, **({"attempt": 1} | status))
    spec = msgspec.structs.replace(gang.spec, owner=GangOwner(kind="AIJob", name="train", uid=owner))
    metadata = msgspec.structs.replace(gang.metadata, name=KEY[1])
    return msgspec.structs.replace(gang, spec=spec, metadata=metadata)


def look(
    job: AIJob | None,
    gang: Gang | None = None,
    *,
    managed: bool = True,
    members: tuple[Member, ...] = (),
    roster: Roster | None = None,
) -> tuple[Decision, JobLook | None]:
    world = World((GPU_RESOURCE,))
    labels = {MANAGED_LABEL: "true"} if managed else {}
    world.see_namespace(Namespace(metadata=ObjectMeta(name="team", labels=labels)))
    if job is not None:
        world.see_job(job)
    if gang is not None:
        world.see_gang(gang)
    roster = roster or call_roll(members, gang or UNMADE)
    view = GangView(gang=gang, roster=roster, term=TERM, time=TIME) if gang is not None else None
    return look_at_job(world, Glance(world.groups[KEY], view, roster, START, 0.0), Patience())


def test_a_new_job_asks_for_its_gang_first() -> None:
    decision, _ = look(make_job())
    assert isinstance(decision.step, CreateJobGang)


@pytest.mark.parametrize(
    ("job", "step"),
    [
        pytest.param(make_job(suspend=True), WriteJob, id="held before anything else"),
        pytest.param(make_job(JobPhase.HELD, suspend=True), type(None), id="held already"),
        pytest.param(make_job(JobPhase.CANCELLED), type(None), id="over"),
        pytest.param(
            make_job(JobPhase.FAILED, ttl_seconds_after_finished=0, status={"completion_time": TIME}), DeleteJob,
            id="over, and its time to live as well",
        ),
    ],
)  # fmt: skip
def test_a_job_without_a_gang_may_want_none(job: AIJob, step: type) -> None:
    decision, _ = look(job)
    assert isinstance(decision.step, step)


def test_what_a_job_lacks_is_told_and_nothing_is_made() -> None:
    for job, managed, reason in (
        (make_job(), False, Reason.NAMESPACE_NOT_MANAGED),
        (make_job(queue="nowhere"), True, Reason.QUEUE_NOT_FOUND),
        (make_job(cluster="nowhere"), True, Reason.CLUSTER_NOT_FOUND),
    ):
        decision, told = look(job, managed=managed)
        assert decision.step is None
        assert told is not None
        assert told.decision.status.reason == reason


def test_the_gang_of_an_earlier_job_goes_before_the_new_one_gets_its_own() -> None:
    decision, _ = look(make_job(), gang_of(GangPhase.PENDING, owner="an earlier job"))
    assert isinstance(decision.step, DeleteGang)
    running, told = look(make_job(), gang_of(GangPhase.RUNNING, owner="an earlier job"))
    assert isinstance(running.step, Move)
    assert running.step.status.phase is GangPhase.FAILED
    assert told is not None
    assert told.decision.status.phase is JobPhase.QUEUED


def test_pods_that_an_earlier_job_of_the_name_has_left_are_waited_for_by_name() -> None:
    left = call_roll((make_member("train-1-0", stage=Stage.BOUND, deleting=True),), UNMADE)
    decision, told = look(make_job(), roster=left)
    assert decision.step is None
    assert told is not None
    assert told.decision.status.reason == Reason.MEMBER_DELETED
    assert "train-1-0" in told.decision.status.message


def test_a_gang_without_a_job_goes() -> None:
    decision, told = look(None, gang_of(GangPhase.PENDING))
    assert isinstance(decision.step, DeleteGang)
    assert told is None


def test_an_eviction_that_somebody_else_ordered_is_put_on_record_first() -> None:
    gang = gang_of(GangPhase.EVICTING, message="a better gang took its place", reason="Preempted")
    decision, _ = look(make_job(JobPhase.RUNNING), gang)
    assert isinstance(decision.step, WriteJob)
    assert decision.step.status.attempts[0].number == 1


def test_a_job_that_cannot_be_read_ends_and_says_why() -> None:
    job = make_job(resources=JobResources(requests={"cpu": "1e999"}))
    decision, _ = look(job)
    assert isinstance(decision.step, WriteJob)
    status = decision.step.status
    assert (status.phase, status.reason) == (JobPhase.FAILED, Reason.INVALID)
    assert "1e999" in status.message
    ended = msgspec.structs.replace(job, status=status)
    assert look(ended)[0].step is None
    member = bound("train-1-0", 0, label=KEY[1], state=PodState())
    running, _ = look(ended, gang_of(GangPhase.RUNNING), members=(member,))
    assert isinstance(running.step, Move)
    assert running.step.status.phase is GangPhase.EVICTING


def test_pods_that_an_earlier_job_of_that_name_has_left_make_way() -> None:
    left = bound("train-1-0", 0, stage=Stage.SUCCEEDED, label=KEY[1], state=PodState())
    decision, _ = look(make_job(), gang_of(GangPhase.FAILED, owner="an earlier job"), members=(left,))
    assert isinstance(decision.step, DeletePods)
    assert decision.step.members == (left,)
