"""Jobs on their way between the api's words and the tables'."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from muster_api.jobs import AIJobSpec, Execution
from muster_api.phases import JobPhase
from muster_queue.rest.service import JobRecord, Submission
from muster_queue.rest.service_errors import NotFound
from muster_queue.storage.records import Job, NewJob

_ENCODE: Final = msgspec.json.Encoder().encode
_SPEC: Final = msgspec.json.Decoder(AIJobSpec)
FIRST_VERSION: Final = 1


def new_job(job: Submission, actor: str, priority: int) -> NewJob:
    """The job as it is stored; one that is submitted suspended is held from the beginning."""
    spec = job.spec
    phase = first_phase(spec)
    return NewJob(
        id=msgspec.convert(job.job_id, UUID),
        namespace=job.namespace,
        name=job.name,
        is_named=job.is_named,
        job_type=spec.job_type,
        queue=spec.queue,
        cluster=spec.cluster,
        execution=spec.execution,
        priority=priority,
        phase=phase,
        labels=job.labels or None,
        spec=msgspec.Raw(_ENCODE(spec)),
        submitter=actor,
        trace=job.trace,
        wake_seconds=spec.queue_timeout_seconds if phase is JobPhase.QUEUED else None,
    )


def first_phase(spec: AIJobSpec) -> JobPhase:
    return JobPhase.HELD if spec.suspend else JobPhase.QUEUED


def submitted_record(new: NewJob, spec: AIJobSpec, committed_at: datetime) -> JobRecord:
    """A job that was stored a moment ago, without reading it back."""
    return JobRecord(
        job_id=msgspec.to_builtins(new.id),
        namespace=new.namespace,
        name=new.name,
        phase=new.phase,
        version=FIRST_VERSION,
        created=committed_at,
        spec=spec,
        labels=dict(new.labels) if new.labels else {},
        priority=new.priority,
        submitted_by=new.submitter,
        queued=committed_at if new.phase is JobPhase.QUEUED else None,
    )


def record_of(job: Job) -> JobRecord:
    """A job as it was read."""
    return JobRecord(
        job_id=str(job.id),
        namespace=job.namespace,
        name=job.name,
        phase=job.phase,
        version=job.version,
        created=job.created_at,
        spec=spec_of(job),
        reason=job.reason,
        message=job.message,
        labels=job.labels,
        priority=job.priority,
        submitted_by=job.submitter,
        attempt=job.attempt,
        retries=job.retries,
        queued=job.queued_at,
        started=job.started_at,
        finished=job.finished_at,
        next_attempt=job.wake_at if job.phase is JobPhase.RETRYING else None,
    )


def first_record(job: Job) -> JobRecord:
    """A job as its submission was answered: whoever repeats a request gets the first answer again."""
    spec = spec_of(job)
    phase = first_phase(spec)
    return JobRecord(
        job_id=str(job.id),
        namespace=job.namespace,
        name=job.name,
        phase=phase,
        version=FIRST_VERSION,
        created=job.created_at,
        spec=spec,
        labels=job.labels,
        priority=job.priority if spec.priority is None else spec.priority,
        submitted_by=job.submitter,
        queued=job.created_at if phase is JobPhase.QUEUED else None,
    )


def spec_of(job: Job) -> AIJobSpec:
    return _SPEC.decode(job.spec)


def is_pooled(job: NewJob) -> bool:
    return job.execution == Execution.POOL


def parse_id(text: str) -> UUID:
    """Ids come from paths, which the door has read, and from page tokens, which anybody can make up."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("the page is none of this list") from None
