"""What becomes of a job, rule by rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bones.job_views import START, after_writing, make_end, make_facts, make_job, make_job_view, make_record
from muster_api.jobs import Execution, FailureClass, JobRetryPolicy
from muster_api.names import CANCEL_ANNOTATION, RETRY_ANNOTATION
from muster_api.phases import GangPhase, JobPhase
from muster_api.reasons import Reason
from muster_queue.jobs.lifecycle import MOST_RECORDS, decide_job, pause_left, refuse_job
from muster_queue.jobs.views import Hindrance, JobView
from muster_queue.jobs.wants import wants_of

RUNNING = make_facts(GangPhase.RUNNING, committed=10)
CANCEL = {CANCEL_ANNOTATION: "true"}


@pytest.mark.parametrize(
    ("view", "phase", "reason"),
    [
        pytest.param(make_job_view(make_job()), JobPhase.QUEUED, Reason.PENDING_EVALUATION, id="a new job"),
        pytest.param(
            make_job_view(make_job(), make_facts(GangPhase.PENDING, reason="InsufficientResources")),
            JobPhase.QUEUED, Reason.INSUFFICIENT_RESOURCES, id="no room",
        ),
        pytest.param(
            make_job_view(make_job(), hindrance=Hindrance(Reason.QUEUE_NOT_FOUND, "no such queue")),
            JobPhase.QUEUED, Reason.QUEUE_NOT_FOUND, id="a queue that is not there",
        ),
        pytest.param(
            make_job_view(make_job(execution=Execution.POOL), hindrance=Hindrance(Reason.POOL_MISSING, "no pool")),
            JobPhase.PENDING, Reason.POOL_MISSING, id="a pool that is not there",
        ),
        pytest.param(
            make_job_view(make_job(), make_facts(GangPhase.RELEASED, reason="WaitingAtBarrier")),
            JobPhase.SCHEDULED, Reason.WAITING_AT_BARRIER, id="at the barrier",
        ),
        pytest.param(make_job_view(make_job(), RUNNING), JobPhase.RUNNING, Reason.SCHEDULED, id="all bound"),
        pytest.param(
            make_job_view(make_job(JobPhase.RUNNING), make_facts(GangPhase.SUCCEEDED)),
            JobPhase.SUCCEEDED, Reason.FINISHED, id="all done",
        ),
        pytest.param(
            make_job_view(make_job(suspend=True)), JobPhase.HELD, Reason.SUSPENDED, id="born suspended"
        ),
        pytest.param(
            make_job_view(make_job(annotations=CANCEL), RUNNING), JobPhase.CANCELLED, Reason.CANCELLED, id="cancelled"
        ),
        pytest.param(
            make_job_view(make_job(queue_timeout_seconds=30), after=30),
            JobPhase.FAILED, Reason.QUEUE_TIMEOUT, id="waited for too long",
        ),
        pytest.param(
            make_job_view(make_job(timeout_seconds=30), RUNNING, after=40),
            JobPhase.RETRYING, Reason.RUN_TIMEOUT, id="ran for too long",
        ),
        pytest.param(
            make_job_view(make_job(), make_facts(GangPhase.RUNNING, end=make_end())),
            JobPhase.RETRYING, Reason.MEMBER_FAILED, id="a member failed",
        ),
        pytest.param(
            make_job_view(make_job(), make_facts(GangPhase.RUNNING, end=make_end(FailureClass.VALIDATION))),
            JobPhase.FAILED, Reason.VALIDATION, id="a configuration that no retry mends",
        ),
        pytest.param(
            make_job_view(
                make_job(retry_policy=JobRetryPolicy(max_retries=1), status={"retries": 1}),
                make_facts(GangPhase.RUNNING, end=make_end()),
            ),
            JobPhase.DEAD_LETTER, Reason.RETRIES_EXHAUSTED, id="no retries left",
        ),
        pytest.param(
            make_job_view(
                make_job(retry_policy=JobRetryPolicy(max_retries=0)),
                make_facts(GangPhase.EVICTING, end=make_end(FailureClass.PREEMPTED)),
            ),
            JobPhase.QUEUED, Reason.PREEMPTED, id="preempted, which costs no retry",
        ),
    ],
)  # fmt: skip
def test_a_job_has_a_phase_and_a_reason(view: JobView, phase: JobPhase, reason: Reason) -> None:
    status = decide_job(view).status
    assert (status.phase, status.reason) == (phase, reason)


def test_a_failed_attempt_is_on_record_before_its_gang_comes_down() -> None:
    view = make_job_view(make_job(JobPhase.RUNNING), make_facts(GangPhase.RUNNING, end=make_end(exit_code=1)), after=20)
    assert wants_of(view).stop is None
    decision = decide_job(view)
    (record,) = decision.status.attempts
    assert decision.is_binding
    assert (record.number, record.exit_code, record.failure) == (1, 1, FailureClass.EXIT_CODE)
    written = make_job_view(after_writing(view.job, decision.status), view.gang, after=20)
    wants = wants_of(written)
    assert wants.stop is not None
    assert wants.stop.reason is Reason.MEMBER_FAILED
    assert wants.again


def test_an_attempt_on_record_is_not_recorded_again() -> None:
    job = make_job(JobPhase.RETRYING, status={"attempts": (make_record(),), "retries": 1})
    decision = decide_job(make_job_view(job, make_facts(GangPhase.RUNNING, end=make_end())))
    assert decision.status == job.status


def test_the_next_attempt_waits_for_its_back_off_and_not_for_its_gang() -> None:
    job = make_job(JobPhase.RUNNING)
    closed = decide_job(make_job_view(job, make_facts(GangPhase.RUNNING, end=make_end()))).status
    waiting = make_job_view(after_writing(job, closed), make_facts(GangPhase.PENDING, attempt=2), after=5)
    assert not wants_of(waiting).place
    assert decide_job(waiting).status.phase is JobPhase.RETRYING
    later = make_job_view(after_writing(job, closed), make_facts(GangPhase.PENDING, attempt=2), after=12)
    assert wants_of(later).place
    assert decide_job(later).status.phase is JobPhase.QUEUED


def test_a_copy_of_the_job_that_is_behind_its_gang_starts_nothing() -> None:
    """A new leader may know the gang's next attempt before it knows how the last one has ended."""
    stale = make_job_view(make_job(JobPhase.RUNNING), make_facts(GangPhase.PENDING, attempt=2))
    assert not wants_of(stale).place


@pytest.mark.parametrize(
    ("job", "gang"),
    [
        pytest.param(make_job(suspend=True), None, id="suspended, not yet Held"),
        pytest.param(make_job(annotations=CANCEL), None, id="cancelled, not yet written down"),
        pytest.param(make_job(JobPhase.HELD), None, id="held"),
        pytest.param(make_job(JobPhase.CANCELLED), None, id="over"),
        pytest.param(make_job(deleting=True), None, id="being deleted"),
        pytest.param(make_job(execution=Execution.POOL), None, id="for a pool"),
    ],
)
def test_nothing_is_planned_for(job: Any, gang: Any) -> None:
    assert not wants_of(make_job_view(job, gang)).place


def test_suspension_takes_a_running_job_down_and_costs_no_retry() -> None:
    view = make_job_view(make_job(JobPhase.RUNNING, suspend=True), RUNNING)
    held = decide_job(view)
    assert held.is_binding
    assert (held.status.phase, held.status.retries) == (JobPhase.HELD, 0)
    assert held.status.attempts[0].failure is FailureClass.SUSPENDED
    wants = wants_of(make_job_view(after_writing(view.job, held.status), RUNNING))
    assert wants.stop is not None
    assert wants.again


def test_a_resumed_job_queues_from_now_on() -> None:
    job = make_job(JobPhase.HELD, queue_timeout_seconds=10, status={"reason": "Suspended"})
    resumed = decide_job(make_job_view(job, make_facts(GangPhase.PENDING), after=100))
    assert resumed.is_binding
    assert resumed.status.phase is JobPhase.QUEUED
    again = decide_job(make_job_view(after_writing(job, resumed.status), make_facts(GangPhase.PENDING), after=105))
    assert again.status.phase is JobPhase.QUEUED


def test_a_dead_letter_is_begun_anew_once_for_each_value_of_the_annotation() -> None:
    job = make_job(
        JobPhase.DEAD_LETTER,
        annotations={RETRY_ANNOTATION: "monday"},
        status={"retries": 3, "attempts": (make_record(4),), "completion_time": "2026-01-01T00:00:00Z"},
    )
    again = decide_job(make_job_view(job, make_facts(GangPhase.FAILED, attempt=4))).status
    assert (again.phase, again.retries, again.completion_time) == (JobPhase.QUEUED, 0, None)
    over = msgspec.structs.replace(again, phase=JobPhase.DEAD_LETTER)
    assert decide_job(make_job_view(after_writing(job, over))).status == over


@pytest.mark.parametrize("spec", [{}, {"suspend": True}], ids=["queued", "held"])
def test_a_retry_that_came_with_the_manifest_is_none(spec: dict[str, Any]) -> None:
    """A copy of a job that was begun anew carries its annotation; only the next value asks for anything."""
    job = make_job(annotations={RETRY_ANNOTATION: "copied"}, **spec)
    first = decide_job(make_job_view(job)).status
    assert first.observed_retry == "copied"
    over = msgspec.structs.replace(first, phase=JobPhase.DEAD_LETTER)
    assert decide_job(make_job_view(after_writing(job, over))).status == over


def test_a_retry_that_came_with_a_refused_manifest_is_none() -> None:
    job = make_job(annotations={RETRY_ANNOTATION: "copied"})
    refused = refuse_job(make_job_view(job), "spec.resources: no quantity").status
    assert decide_job(make_job_view(after_writing(job, refused))).status == refused


@pytest.mark.parametrize(("after", "expires"), [(59, False), (60, True)])
def test_a_job_that_is_over_goes_when_its_time_to_live_is_over(after: float, *, expires: bool) -> None:
    job = make_job(
        JobPhase.SUCCEEDED, ttl_seconds_after_finished=60, status={"completion_time": "2026-01-01T00:00:00Z"}
    )
    decision = decide_job(make_job_view(job, after=after))
    assert decision.expires is expires
    assert decision.recheck_after == 60 - after


def test_no_number_of_gpus_is_larger_than_a_status_may_have() -> None:
    """Where no webhook is asked there is no bound, and a status that is refused is refused for ever."""
    assert decide_job(make_job_view(make_job(), gpus=36 * 10**18)).status.gpus == 2**63 - 1


def test_the_history_is_bounded_and_keeps_the_newest() -> None:
    job = make_job(status={"attempts": tuple(make_record(number) for number in range(1, MOST_RECORDS + 1))})
    facts = make_facts(GangPhase.RUNNING, attempt=MOST_RECORDS + 1, end=make_end())
    numbers = [record.number for record in decide_job(make_job_view(job, facts)).status.attempts]
    assert numbers == list(range(2, MOST_RECORDS + 2))


def test_a_job_that_runs_is_looked_at_when_its_time_is_up() -> None:
    decision = decide_job(make_job_view(make_job(timeout_seconds=30), RUNNING, after=15))
    assert decision.recheck_after == 25


def test_a_job_being_deleted_is_told_nothing_any_more() -> None:
    view = make_job_view(make_job(JobPhase.RUNNING, deleting=True), RUNNING)
    assert decide_job(view).status == view.job.status
    wants = wants_of(view)
    assert wants.stop is not None
    assert not wants.again


def test_what_is_ended_from_outside_over_and_over_starts_anew_later_and_later() -> None:
    """A job that fills its node's disk is evicted on each node in turn: that must not go on without a pause."""
    failures = [FailureClass.EXIT_CODE, FailureClass.PREEMPTED, FailureClass.NODE_LOST]
    pauses = []
    for rounds in range(1, 4):
        records = tuple(make_record(number + 1, failure) for number, failure in enumerate(failures[:rounds]))
        job = make_job(retry_policy=JobRetryPolicy(backoff_seconds=10), status={"attempts": records})
        end = make_end(FailureClass.PREEMPTED)
        decision = decide_job(make_job_view(job, make_facts(GangPhase.RUNNING, attempt=rounds + 1, end=end)))
        assert decision.status.retries == 0
        pauses.append(pause_left(decision.status, START))
    assert pauses[0] == 0
    assert 10 <= pauses[1] < pauses[2]
