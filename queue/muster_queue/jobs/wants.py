"""What a job wants of its gang, from what is written in the job: never from what is only about to be."""

from __future__ import annotations

from dataclasses import dataclass

from muster_api.jobs import AttemptRecord, Execution
from muster_api.names import CANCEL_ANNOTATION
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_queue.jobs.lifecycle import TERMINAL, next_attempt, pause_left, record_of
from muster_queue.jobs.views import JobView


@dataclass(frozen=True, slots=True)
class Stop:
    """The gang is to come down."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wants:
    """`place`: to be planned. `again`: once its gang is down, another attempt may follow."""

    place: bool = False
    stop: Stop | None = None
    again: bool = False
    record: AttemptRecord | None = None
    """How the gang's present attempt has ended, once that is written in the job."""


def wants_of(view: JobView) -> Wants:
    """Safe to act on after any crash, since it rests on durable state alone."""
    job, gang, status = view.job, view.gang, view.job.status
    record = record_of(status, gang.attempt) if gang is not None and gang.attempt else None
    if job.metadata.deletion_timestamp is not None:
        return Wants(stop=Stop(Reason.JOB_DELETED, "the job is being deleted"), record=record)
    if status.phase in TERMINAL:
        stop = None if status.phase is JobPhase.SUCCEEDED else _stop(view)
        return Wants(stop=stop, record=record)
    if status.phase is JobPhase.HELD:
        return Wants(stop=_stop(view), again=True, record=record)
    if record is not None:
        return Wants(stop=Stop(_reason(view), record.message), again=True, record=record)
    return Wants(place=_may_be_placed(view), again=True)


def _may_be_placed(view: JobView) -> bool:
    job, status = view.job, view.job.status
    if job.spec.suspend or job.metadata.annotations.get(CANCEL_ANNOTATION) == "true":
        return False
    if view.hindrance is not None or job.spec.execution is Execution.POOL:
        return False
    if view.gang is not None and view.gang.attempt > next_attempt(status):
        # The gang has gone on to an attempt that our copy of the job has not heard of, and so of its back-off neither.
        return False
    return pause_left(status, view.now) <= 0


def _stop(view: JobView) -> Stop:
    return Stop(_reason(view), view.job.status.message)


def _reason(view: JobView) -> Reason:
    return next((reason for reason in Reason if reason == view.job.status.reason), Reason.CANCELLED)
