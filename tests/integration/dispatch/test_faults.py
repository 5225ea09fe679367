"""Whoever dies or is away, wherever and whenever: no job is lost, none is doubled, and gangs go on."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from uuid import UUID

import pytest

from bones.backlog import Backlog
from bones.control_plane import wait_until
from bones.ending_pods import ending_pods
from bones.job_stage import JobStage
from bones.kube import Kube
from bones.names import RUN_SECONDS
from bones.queue_service import Service
from muster_api.phases import JobPhase

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KILLS = 6
JOBS = 30
SEED = 5


def check_once(jobs: JobStage, backlog: Backlog, job_ids: list[UUID]) -> None:
    """Each ran in one attempt at a time, and its last one ended well."""
    uids = {name: job["metadata"]["uid"] for name, job in jobs.kube.items("aijobs", jobs.namespace).items()}
    for job_id, job in backlog.find(job_ids).items():
        attempts = backlog.attempts(job_id)
        assert job.phase is JobPhase.SUCCEEDED and job.object_uid == uids[job.name]
        assert [one.attempt for one in attempts] == list(range(1, job.attempt + 1))
        assert all(
            one.ended_at is not None and one.holder.startswith(f"kubernetes/{uids[job.name]}/") for one in attempts
        )
        assert [one.outcome for one in attempts].count(JobPhase.SUCCEEDED) == 1
        assert attempts[-1].outcome is JobPhase.SUCCEEDED
        versions = [event.version for event in backlog.events(job_id)]
        assert versions == list(range(1, job.version + 1))
    backlog.verify()


@pytest.mark.parametrize("place", ["dispatch-create", "dispatch-created", "dispatch-claimed", "dispatch-moved"])
def test_the_controller_dies_between_two_steps(
    jobs: JobStage, backlog: Backlog, service: Service, tmp_path: Path, place: str
) -> None:
    jobs.stage.add_nodes(1)
    service.restart(f"{place}@1=kill", str(tmp_path / "hits"))
    (job_id,) = backlog.submit(jobs.manifest("one", 2))
    with ending_pods(jobs):
        service.cluster.await_exit("controller", 60)
        service.start()
        backlog.wait_phase(job_id, JobPhase.SUCCEEDED, timeout=90)
    assert backlog.job(job_id).attempt == 1
    check_once(jobs, backlog, [job_id])


def test_the_controller_dies_at_random(jobs: JobStage, backlog: Backlog, service: Service) -> None:
    jobs.stage.add_nodes(2)
    chance = random.Random(SEED)
    job_ids: list[UUID] = []
    with ending_pods(jobs):
        for kill in range(KILLS):
            job_ids += backlog.submit(*(jobs.manifest(f"job-{kill}-{n}", 2) for n in range(JOBS // KILLS)))
            time.sleep(chance.uniform(0.1, 1.5))
            service.kill()
            service.start()
        backlog.wait_all(
            job_ids,
            lambda rows: all(row.phase is JobPhase.SUCCEEDED for row in rows.values()),
            timeout=180,
            what="the end of all jobs",
        )
    check_once(jobs, backlog, job_ids)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shutdown", "crash"])
def test_gangs_go_on_while_postgres_is_away(
    jobs: JobStage, backlog: Backlog, service: Service, how: signal.Signals
) -> None:
    jobs.stage.add_nodes(1)
    (before,) = backlog.submit(jobs.manifest("before", 2))
    jobs.wait_attempt("before", 1)
    service.postgres.stop(how)
    jobs.create("meanwhile", 2, annotations={RUN_SECONDS: "1"})
    jobs.create("deleted", 2)
    jobs.wait_phase("meanwhile", "Succeeded")
    jobs.wait_attempt("deleted", 1)
    for pod in jobs.pods("before"):
        jobs.end(pod)
    jobs.wait_phase("before", "Succeeded")
    jobs.kube.delete("aijobs", "deleted", jobs.namespace)
    jobs.wait_gone("deleted")
    assert service.cluster.is_running("controller")
    service.postgres.start()
    backlog.wait_phase(before, JobPhase.SUCCEEDED)
    backlog.wait_named(jobs.namespace, "meanwhile", JobPhase.SUCCEEDED, timeout=20)
    (after,) = backlog.submit(jobs.manifest("after", 2))
    backlog.wait_phase(after, JobPhase.RUNNING)
    check_attempts_are_single(backlog, [before, after])


def test_what_was_deleted_while_the_controller_was_down_is_cancelled(
    jobs: JobStage, backlog: Backlog, service: Service
) -> None:
    jobs.stage.add_nodes(1)
    (job_id,) = backlog.submit(jobs.manifest("one", 2))
    backlog.wait_phase(job_id, JobPhase.RUNNING)
    service.kill()
    jobs.kube.delete("aijobs", "one", jobs.namespace)
    jobs.wait_without("aijobs", "one")
    service.start()
    job = backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name")
    assert (job.phase, job.reason) == (JobPhase.CANCELLED, "Deleted")


def test_an_object_that_comes_after_its_job_was_deleted_goes_too(
    jobs: JobStage, backlog: Backlog, service: Service
) -> None:
    """As a request of a former leader does that the API server has kept for long."""
    (job_id,) = backlog.submit(jobs.manifest("one", 2))
    first = jobs.wait_phase("one", "Queued")
    jobs.kube.delete("aijobs", "one", jobs.namespace)
    backlog.wait(job_id, lambda row: row.gone_at is not None, what="a free name")
    again = jobs.manifest("one", 2, annotations=first["metadata"]["annotations"])
    former = Kube(service.cluster.kubeconfig("controller"))
    try:
        made = former.create(again)
    finally:
        former.close()
    jobs.kube.wait_for(
        "aijobs",
        lambda items: all(job["metadata"]["uid"] != made["metadata"]["uid"] for job in items.values()),
        namespace=jobs.namespace,
        what="the end of the second one",
    )
    assert backlog.job(job_id).phase is JobPhase.CANCELLED


def test_last_words_that_postgres_cannot_keep_stop_nobody(jobs: JobStage, backlog: Backlog) -> None:
    """A process may write any character when it ends."""
    jobs.stage.add_nodes(1)
    odd, other = backlog.submit(jobs.manifest("odd", retryPolicy={"maxRetries": 0}), jobs.manifest("other"))
    for job_id, name, code, words in ((odd, "odd", 1, "out of\0luck"), (other, "other", 0, "")):
        backlog.wait_phase(job_id, JobPhase.RUNNING)
        (pod,) = jobs.pods(name)
        jobs.end(pod, code, words)
    backlog.wait_phase(other, JobPhase.SUCCEEDED)
    assert "out of\ufffdluck" in backlog.wait_phase(odd, JobPhase.DEAD_LETTER).message


def test_jobs_go_on_while_redis_is_away(jobs: JobStage, backlog: Backlog, service: Service) -> None:
    jobs.stage.add_nodes(1)
    service.redis.kill()
    (job_id,) = backlog.submit(jobs.manifest("one", 2))
    backlog.wait_phase(job_id, JobPhase.RUNNING)
    (pooled,) = backlog.submit(jobs.manifest("pooled", None), execution="pool")
    service.redis.start()
    key = f"muster:{{{jobs.namespace}/default}}:waiting"

    def is_told() -> bool:
        return service.redis.ask("ZSCORE", key, str(pooled)) is not None

    wait_until(is_told, 60, "the job in the index")
    backlog.change(pooled, target=JobPhase.CANCELLED)
    wait_until(lambda: not is_told(), 60, "the job out of the index")


def check_attempts_are_single(backlog: Backlog, job_ids: list[UUID]) -> None:
    for job_id in job_ids:
        assert [one.attempt for one in backlog.attempts(job_id)] == [1]
