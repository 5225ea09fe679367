"""What becomes of jobs whose time is over: back-off, waiting too long, running too long, kept long enough. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from muster_api.objects import KubernetesStruct
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_queue.storage.records import Change, Job
from muster_queue.storage.transitions import ENDED, STARTED, is_legal


class _Limits(KubernetesStruct, frozen=True, kw_only=True):
    queue_timeout_seconds: float | None = None


_limits: Final = msgspec.json.Decoder(_Limits)


def has_aijob(job: Job) -> bool:
    """Its own controller sees to its time."""
    return job.object_uid is not None


def is_overdue(job: Job) -> bool:
    """Whether an attempt of it runs too long."""
    return job.phase in STARTED


def after_waiting(job: Job) -> Change | None:
    """For a job that waits: the pause is over, or it has waited too long; one that has ended was kept long enough."""
    if job.phase in ENDED:
        return Change(job_id=job.id, version=job.version, is_gone=True)
    if job.phase is JobPhase.RETRYING:
        return Change(
            job_id=job.id,
            version=job.version,
            target=JobPhase.QUEUED,
            reason=job.reason,
            message="the pause is over",
            wake_seconds=queue_time(job),
        )
    if not is_legal(job.phase, JobPhase.FAILED):
        return None
    limit = queue_time(job)
    text = (
        "no place in the time that it may wait" if limit is None else f"no place within the {limit:.0f} s of its time"
    )
    return Change(job_id=job.id, version=job.version, target=JobPhase.FAILED, reason=Reason.QUEUE_TIMEOUT, message=text)


def queue_time(job: Job) -> float | None:
    """How long it may wait; a spec that cannot be read has no limit."""
    try:
        return _limits.decode(job.spec).queue_timeout_seconds
    except msgspec.DecodeError:
        return None
