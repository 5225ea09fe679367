"""Jobs, gang facts and views of both with defaults, for tests of what becomes of jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from muster_api.jobs import AIJob, AIJobSpec, AIJobStatus, AttemptRecord, FailureClass, JobType
from muster_api.objects import ObjectMeta
from muster_api.phases import GangPhase, JobPhase
from muster_queue.jobs.failures import AttemptEnd
from muster_queue.jobs.telling import wall_time
from muster_queue.jobs.views import GangFacts, JobView

START = datetime(2026, 1, 1, tzinfo=UTC)
GANG_OF_JOB = "job-abcdefghijklmnop"


def make_job(
    phase: JobPhase = JobPhase.PENDING,
    *,
    annotations: dict[str, str] | None = None,
    deleting: bool = False,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> AIJob:
    """A training job, created at START; `spec` and `status` as in the manifest's struct."""
    return AIJob(
        metadata=ObjectMeta(
            name="train",
            namespace="team",
            uid="job-uid",
            generation=1,
            resource_version="5",
            creation_timestamp=wall_time(START),
            deletion_timestamp=wall_time(START) if deleting else None,
            annotations=annotations or {},
        ),
        spec=AIJobSpec(**({"job_type": JobType.TRAINING, "image": "worker"} | spec)),
        status=AIJobStatus(**({"phase": phase} | (status or {}))),
    )


def make_facts(phase: GangPhase, *, attempt: int = 1, committed: float | None = None, **facts: Any) -> GangFacts:
    """A gang of four; `committed` is in seconds after START."""
    moment = wall_time(START + timedelta(seconds=committed)) if committed is not None else None
    return GangFacts(**({"phase": phase, "attempt": attempt, "committed_at": moment, "size": 4} | facts))


def make_job_view(job: AIJob, gang: GangFacts | None = None, *, after: float = 0.0, **changes: Any) -> JobView:
    """Seen so many seconds after START."""
    given: dict[str, Any] = {"members": 4, "gpus": 4, "now": START + timedelta(seconds=after)}
    return JobView(**({"job": job, "gang": gang} | given | changes))


def make_end(failure: FailureClass = FailureClass.EXIT_CODE, **changes: Any) -> AttemptEnd:
    return AttemptEnd(**({"failure": failure, "message": "it failed", "member": "train-1-0"} | changes))


def make_record(number: int = 1, failure: FailureClass = FailureClass.EXIT_CODE) -> AttemptRecord:
    return AttemptRecord(number=number, failure=failure)


def after_writing(job: AIJob, status: AIJobStatus) -> AIJob:
    """The job as it is once this status stands in it."""
    return msgspec.structs.replace(job, status=status)
