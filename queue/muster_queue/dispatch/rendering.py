"""A job of the queue service as an AIJob, and an AIJob that somebody made with kubectl as a job. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from muster_api.jobs import AIJob, AIJobSpec, Execution
from muster_api.names import (
    GROUP,
    JOB_ID_ANNOTATION,
    QUEUED_ANNOTATION,
    SUBMITTED_ANNOTATION,
    TRACE_ANNOTATION,
    VERSION,
)
from muster_api.phases import JobPhase
from muster_queue.dispatch.mirroring import phase_meant
from muster_queue.jobs.environment import trace_of
from muster_queue.jobs.ordering import job_id_of, moment_text
from muster_queue.storage.records import Job, NewJob

SUBMITTER: Final = "kubernetes"
MOST_LABELS: Final = 64

_spec: Final = msgspec.json.Decoder(AIJobSpec)


def object_of(job: Job) -> dict[str, Any]:
    """What is created for the job; raises msgspec.DecodeError where its spec cannot be read."""
    spec: dict[str, Any] = msgspec.json.decode(job.spec)
    _spec.decode(job.spec)
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "AIJob",
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "labels": job.labels,
            "annotations": {
                JOB_ID_ANNOTATION: str(job.id),
                SUBMITTED_ANNOTATION: moment_text(job.created_at),
                QUEUED_ANNOTATION: moment_text(job.queued_at or job.created_at),
                **({TRACE_ANNOTATION: job.trace} if job.trace else {}),
            },
        },
        # What was changed since the submission stands in the row.
        "spec": spec | {"priority": job.priority, "queue": job.queue, "suspend": False},
    }


def row_of(job: AIJob, priority: int) -> NewJob:
    """The job that an AIJob of kubectl is known as: the same one however often it is imported."""
    spec, labels = job.spec, job.metadata.labels
    return NewJob(
        id=job_id_of(job.metadata),
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        is_named=True,
        job_type=spec.job_type,
        queue=spec.queue,
        cluster=spec.cluster,
        execution=spec.execution,
        priority=min(100, max(0, priority)),
        phase=_first_phase(job),
        labels=dict(list(labels.items())[:MOST_LABELS]) or None,
        spec=msgspec.Raw(msgspec.json.encode(spec)),
        submitter=SUBMITTER,
        trace=trace_of(job),
        object_uid=job.metadata.uid,
    )


def _first_phase(job: AIJob) -> JobPhase:
    """The rest of its way it goes by moves."""
    if phase_meant(job) is JobPhase.HELD:
        return JobPhase.HELD
    # Pools take what is Queued; how an AIJob of that kind does nobody would tell its user.
    return JobPhase.PENDING if spec_is_for_pools(job) else JobPhase.QUEUED


def spec_is_for_pools(job: AIJob) -> bool:
    return job.spec.execution is Execution.POOL
