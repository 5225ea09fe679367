"""Jobs as they are answered, and the envelopes of lists and bulks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from muster_api.jobs import Execution, JobType
from muster_api.phases import JobPhase
from muster_queue.rest.job_types import SpecificationAnswer, from_spec
from muster_queue.rest.problems import Problem
from muster_queue.rest.service import Frozen, JobAttemptAnswer, JobRecord

T = TypeVar("T")


class JobAnswer(Frozen, frozen=True, kw_only=True):
    """A job without its specification."""

    job_id: str
    name: str
    namespace: str
    phase: JobPhase
    reason: str
    message: str
    job_type: JobType
    execution: Execution
    queue: str
    priority: int
    labels: dict[str, str]
    attempt: int
    retries: int
    version: int
    submitted_by: str
    created_at: datetime
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None


class JobDetailsAnswer(JobAnswer, frozen=True, kw_only=True):
    """A job with its specification and its last attempts, the latest first."""

    spec: SpecificationAnswer
    attempts: list[JobAttemptAnswer]


class ListAnswer(Frozen, Generic[T], frozen=True, kw_only=True):
    """One page; `next` is the `page` of the following one, or null."""

    items: list[T]
    next: str | None = None


class BulkItem(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one job of a bulk: its id, or what is wrong with it."""

    index: int
    status: int
    job_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    replayed: bool = False
    problem: Problem | None = None


class BulkAnswer(Frozen, frozen=True, kw_only=True):
    accepted: int
    refused: int
    items: list[BulkItem]
    stopped_at: int | None = None
    """The first job that was not looked at, where the bulk could not be taken to its end: send the rest again."""


_ENCODER: Final = msgspec.json.Encoder()


def encode(answer: Any) -> bytes:
    return _ENCODER.encode(answer)


def etag(job: JobRecord) -> str:
    return f'"{job.version}"'


def answer_job(job: JobRecord) -> JobAnswer:
    return JobAnswer(**_fields(job))


def answer_details(job: JobRecord, attempts: Sequence[JobAttemptAnswer]) -> JobDetailsAnswer:
    return JobDetailsAnswer(**_fields(job), spec=from_spec(job.spec), attempts=list(attempts))


def _fields(job: JobRecord) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "name": job.name,
        "namespace": job.namespace,
        "phase": job.phase,
        "reason": job.reason,
        "message": job.message,
        "job_type": job.spec.job_type,
        "execution": job.spec.execution,
        "queue": job.spec.queue,
        "priority": job.priority,
        "labels": job.labels,
        "attempt": job.attempt,
        "retries": job.retries,
        "version": job.version,
        "submitted_by": job.submitted_by,
        "created_at": job.created,
        "queued_at": job.queued,
        "started_at": job.started,
        "finished_at": job.finished,
        "next_attempt_at": job.next_attempt,
    }
