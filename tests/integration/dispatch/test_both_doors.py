"""Stored jobs become AIJobs and AIJobs of kubectl become rows; what happens on one side shows on the other."""

from __future__ import annotations

from uuid import UUID

import pytest

from bones.backlog import Backlog
from bones.job_stage import JobStage, status_of
from bones.names import RUN_SECONDS, P
from bones.stage import phase_of
from muster_api.phases import JobPhase

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

JOB_ID = f"{P}job-id"


def start(jobs: JobStage, backlog: Backlog, name: str = "one", members: int | None = 2) -> UUID:
    """A stored job that runs."""
    (job_id,) = backlog.submit(jobs.manifest(name, members))
    jobs.wait_attempt(name, 1)
    backlog.wait_phase(job_id, JobPhase.RUNNING)
    return job_id


def end_all(jobs: JobStage, name: str, attempt: int = 1, exit_code: int = 0) -> None:
    for pod in jobs.pods(name):
        if pod.startswith(f"{name}-{attempt}-"):
            jobs.end(pod, exit_code)


def test_a_stored_job_runs_and_ends_with_its_history(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    job_id = start(jobs, backlog)
    annotations = jobs.job("one")["metadata"]["annotations"]
    assert annotations[JOB_ID] == str(job_id)
    end_all(jobs, "one")
    job = backlog.wait_phase(job_id, JobPhase.SUCCEEDED)
    uid = jobs.job("one")["metadata"]["uid"]
    assert (job.object_uid, job.attempt, job.retries) == (uid, 1, 0)
    (attempt,) = backlog.attempts(job_id)
    assert (attempt.holder, attempt.outcome, attempt.gpus) == (f"kubernetes/{uid}/1", JobPhase.SUCCEEDED, 2)
    phases = [event.target for event in backlog.events(job_id)]
    assert phases[0] is JobPhase.QUEUED and phases[-1] is JobPhase.SUCCEEDED
    assert [event.version for event in backlog.events(job_id)] == list(range(1, len(phases) + 1))
    backlog.verify()
    jobs.kube.delete("aijobs", "one", jobs.namespace)
    assert backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name").phase is JobPhase.SUCCEEDED


def test_failures_and_retries_are_written_down_attempt_by_attempt(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    (job_id,) = backlog.submit(jobs.manifest("one", 2, retryPolicy={"maxRetries": 1, "backoffSeconds": 1}))
    jobs.wait_attempt("one", 1)
    end_all(jobs, "one", exit_code=3)
    jobs.wait_attempt("one", 2)
    backlog.wait(job_id, lambda row: row.phase is JobPhase.RUNNING and row.attempt == 2, what="the second attempt")
    end_all(jobs, "one", 2, exit_code=4)
    job = backlog.wait_phase(job_id, JobPhase.DEAD_LETTER)
    assert (job.reason, job.retries) == ("RetriesExhausted", 1)
    assert [(one.failure, one.exit_code) for one in backlog.attempts(job_id)] == [("exitCode", 3), ("exitCode", 4)]
    backlog.change(job_id, target=JobPhase.QUEUED, retries=0, reason="RetryRequested")
    assert status_of(jobs.wait_attempt("one", 3)).get("retries", 0) == 0
    backlog.wait(job_id, lambda row: row.phase is JobPhase.RUNNING and row.attempt == 3, what="the third attempt")


def test_a_job_of_kubectl_is_a_row(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    jobs.create("short", 2, annotations={RUN_SECONDS: "1"}, priority=70)
    job = backlog.wait_named(jobs.namespace, "short", JobPhase.SUCCEEDED)
    assert (job.priority, job.submitter, job.attempt, job.id.version) == (70, "kubernetes", 1, 7)
    assert len(backlog.attempts(job.id)) == 1


def test_what_is_asked_over_rest_is_carried_to_the_object(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    job_id = start(jobs, backlog)
    backlog.change(job_id, target=JobPhase.HELD, reason="Suspended")
    held = jobs.wait_phase("one", "Held")
    assert held["spec"]["suspend"] is True
    assert backlog.job(job_id).phase is JobPhase.HELD
    backlog.change(job_id, priority=77)
    jobs.wait("one", lambda job: job["spec"]["priority"] == 77, what="the priority")
    backlog.change(job_id, target=JobPhase.QUEUED, reason="Released")
    jobs.wait_attempt("one", 2)
    backlog.wait_phase(job_id, JobPhase.RUNNING)
    backlog.change(job_id, target=JobPhase.CANCELLED, reason="Cancelled")
    jobs.wait_gone("one")
    job = backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name")
    assert job.phase is JobPhase.CANCELLED
    assert all(attempt.ended_at is not None for attempt in backlog.attempts(job_id))


def test_what_kubectl_does_is_seen_in_the_row(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    job_id = start(jobs, backlog)
    jobs.change("one", suspend=True)
    backlog.wait_phase(job_id, JobPhase.HELD)
    jobs.change("one", suspend=False, priority=33)
    backlog.wait(job_id, lambda row: row.phase is JobPhase.RUNNING and row.priority == 33, what="running with 33")
    jobs.kube.delete("aijobs", "one", jobs.namespace)
    job = backlog.wait_phase(job_id, JobPhase.CANCELLED)
    assert job.reason == "Deleted"
    backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name")
    jobs.wait_gone("one")
    (again,) = backlog.submit(jobs.manifest("one", 2))
    jobs.wait_attempt("one", 1)
    backlog.wait_phase(again, JobPhase.RUNNING)


def test_a_cancelled_job_stays_so_whatever_comes_later(jobs: JobStage, backlog: Backlog) -> None:
    """It waits without room; the cancellation and a change by kubectl cross."""
    (job_id,) = backlog.submit(jobs.manifest("one", 2))
    backlog.wait(job_id, lambda row: row.object_uid is not None, what="its AIJob")
    backlog.change(job_id, target=JobPhase.CANCELLED)
    jobs.kubectl.run("-n", jobs.namespace, "annotate", "aijob", "one", f"{P}retry=now", "--overwrite")
    jobs.wait_gone("one")
    job = backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name")
    assert job.phase is JobPhase.CANCELLED


def test_a_name_that_kubectl_took_first(jobs: JobStage, backlog: Backlog) -> None:
    """The row is there before the controller hears of the object: the object keeps the name, and the job fails."""
    (job_id,) = backlog.submit(jobs.manifest("one", 2), phase=JobPhase.HELD)
    jobs.create("one", 2)
    backlog.change(job_id, target=JobPhase.QUEUED)
    assert backlog.wait_phase(job_id, JobPhase.FAILED).reason == "NameTaken"
    other = backlog.wait_named(jobs.namespace, "one", JobPhase.QUEUED)
    assert other.id != job_id and other.submitter == "kubernetes"


def test_what_cannot_become_an_object_fails_and_stops_nobody(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1)
    wrong = jobs.manifest("wrong", 2, image="no such name")
    astray = jobs.manifest("astray", 2)
    astray["metadata"]["namespace"] = "no-such-namespace"
    (wrong_id,), (astray_id,) = backlog.submit(wrong, priority=90), backlog.submit(astray, priority=90)
    (good_id,) = backlog.submit(jobs.manifest("good", 2))
    assert "spec.image" in backlog.wait_phase(wrong_id, JobPhase.FAILED).message
    assert "no-such-namespace" in backlog.wait_phase(astray_id, JobPhase.FAILED).message
    backlog.wait_phase(good_id, JobPhase.RUNNING)


def test_only_the_controller_says_which_job_an_object_stands_for(jobs: JobStage) -> None:
    forged = jobs.manifest("forged", 2, annotations={JOB_ID: "01980000-0000-7000-8000-000000000001"})
    with pytest.raises(Exception, match="only Muster writes it"):
        jobs.kube.create(forged)
    jobs.create("mine", 2)
    for key in ("job-id", "submitted", "queued"):
        said = jobs.kubectl.fails("-n", jobs.namespace, "annotate", "aijob", "mine", f"{P}{key}=x")
        assert "only Muster writes it" in said
    assert phase_of(jobs.job("mine")) in ("", "Queued", "Pending")
