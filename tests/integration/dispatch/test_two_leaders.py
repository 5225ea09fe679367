"""A leader that was voted out goes on for a while: both work on the same rows and AIJobs, and do no harm."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from bones.backlog import Backlog
from bones.ending_pods import ending_pods
from bones.job_stage import JobStage
from bones.queue_service import WINDOW, Service
from bones.rival import Rival
from muster_api.phases import JobPhase

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

STORED = 40
OF_KUBECTL = 10


def test_two_leaders_lose_and_double_nothing(
    jobs: JobStage, backlog: Backlog, service: Service, service_url: str
) -> None:
    jobs.stage.add_nodes(3)
    registry = CollectorRegistry()
    rival = Rival(service.cluster.kubeconfig("controller"), service_url, service.redis.url, WINDOW, registry)
    with rival.leading(), ending_pods(jobs):
        job_ids = backlog.submit(*(jobs.manifest(f"stored-{n}", 2) for n in range(STORED)))
        for number in range(OF_KUBECTL):
            jobs.create(f"made-{number}", 2)
        (cancelled,) = backlog.submit(jobs.manifest("cancelled", 2), priority=1)
        backlog.change(cancelled, target=JobPhase.CANCELLED)
        names = [f"made-{number}" for number in range(OF_KUBECTL)]
        made = [backlog.wait_named(jobs.namespace, name, JobPhase.SUCCEEDED, timeout=180).id for name in names]
        backlog.wait_all(
            job_ids,
            lambda rows: all(row.phase is JobPhase.SUCCEEDED for row in rows.values()),
            timeout=180,
            what="the end of all jobs",
        )
        jobs.wait_without("aijobs", "cancelled")
    assert rival.did("muster_dispatch_materialised_total") > 0, "the other one was always quicker: nothing was shown"
    assert rival.did("muster_dispatch_steps_total", kind="Claim") > 0
    check_once(jobs, backlog, [*job_ids, *made])
    assert backlog.job(cancelled).phase is JobPhase.CANCELLED
    assert all(attempt.ended_at is not None for attempt in backlog.attempts(cancelled))
    backlog.verify()


def check_once(jobs: JobStage, backlog: Backlog, job_ids: list[UUID]) -> None:
    """One row, one AIJob and one attempt for each, and each step of it written down once."""
    objects = jobs.kube.items("aijobs", jobs.namespace)
    rows = backlog.find(job_ids)
    assert sorted(row.name for row in rows.values()) == sorted(objects)
    assert backlog.names(jobs.namespace) == sorted([*objects, "cancelled"])
    for job_id, row in rows.items():
        assert (row.phase, row.attempt) == (JobPhase.SUCCEEDED, 1)
        assert row.object_uid == objects[row.name]["metadata"]["uid"]
        (attempt,) = backlog.attempts(job_id)
        assert attempt.outcome is JobPhase.SUCCEEDED
        events = backlog.events(job_id)
        assert [event.version for event in events] == list(range(1, row.version + 1))
        assert max(Counter(event.target for event in events if event.target is not event.source).values()) == 1
