"""One order for jobs of both doors, and never more of them in the API server than fit into the window."""

from __future__ import annotations

import time

import pytest

from bones.backlog import Backlog
from bones.job_stage import JobStage
from bones.queue_service import WINDOW
from bones.stage import phase_of
from muster_api.phases import JobPhase

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

QUEUED = 300
SIZE = 4


def running(jobs: JobStage) -> set[str]:
    return {name for name, job in jobs.kube.items("aijobs", jobs.namespace).items() if phase_of(job) == "Running"}


def test_jobs_of_both_doors_start_in_one_order(jobs: JobStage, backlog: Backlog) -> None:
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("blocker", SIZE)
    jobs.wait_attempt("blocker", 1)
    expected = []
    for number in range(3):
        backlog.submit(jobs.manifest(f"rest-{number}", SIZE))
        # A job of kubectl counts as made at the beginning of its second.
        time.sleep(1.0)
        jobs.create(f"kubectl-{number}", SIZE)
        time.sleep(0.1)
        expected += [f"rest-{number}", f"kubectl-{number}"]
    backlog.submit(jobs.manifest("rest-urgent", SIZE), priority=80)
    jobs.create("kubectl-low", SIZE, priority=20)
    expected = ["rest-urgent", *expected, "kubectl-low"]
    jobs.wait("rest-urgent", lambda job: True, what="its AIJob")
    done, order = "blocker", []
    for _ in expected:
        for pod in jobs.pods(done):
            jobs.end(pod)
        jobs.wait_phase(done, "Succeeded")
        now = jobs.kube.wait_for(
            "aijobs",
            lambda items: [name for name, job in items.items() if phase_of(job) == "Running"],
            namespace=jobs.namespace,
            what="the next one",
        )
        (done,) = [name for name, job in now.items() if phase_of(job) == "Running"]
        order.append(done)
    assert order == expected


def test_the_window_holds_and_a_better_job_goes_at_once(jobs: JobStage, backlog: Backlog) -> None:
    job_ids = backlog.submit(*(jobs.manifest(f"job-{number}", 2) for number in range(QUEUED)))
    seen = jobs.kube.wait_for(
        "aijobs", lambda items: len(items) >= WINDOW, namespace=jobs.namespace, what="a full window"
    )
    jobs.kube.stays(
        "aijobs", lambda items: len(items) <= WINDOW, namespace=jobs.namespace, seconds=5, what="the window"
    )
    assert set(seen) == {f"job-{number}" for number in range(WINDOW)}
    (urgent,) = backlog.submit(jobs.manifest("urgent", 2), priority=90)
    jobs.wait("urgent", lambda job: True, what="the better one")
    backlog.change(job_ids[0], target=JobPhase.CANCELLED)
    jobs.wait_without("aijobs", "job-0")
    jobs.wait_without("aijobs", f"job-{WINDOW}", timeout=1)
    backlog.change(urgent, target=JobPhase.CANCELLED)
    jobs.wait(f"job-{WINDOW}", lambda job: True, what="the next one")
    jobs.kube.stays("aijobs", lambda items: len(items) <= WINDOW, namespace=jobs.namespace, seconds=2)
    for job_id in job_ids[1:]:
        backlog.change(job_id, target=JobPhase.CANCELLED)
    backlog.wait_all(
        job_ids,
        lambda rows: all(row.phase is JobPhase.CANCELLED for row in rows.values()),
        timeout=60,
        what="all of them cancelled",
    )
