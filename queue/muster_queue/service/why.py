"""Why a job is where it is, from what is stored of it: pure."""

from __future__ import annotations

from typing import Final

from muster_api.phases import JobPhase
from muster_queue.rest.service import WhyAnswer
from muster_queue.storage.records import Job
from muster_queue.storage.transitions import ENDED

_UNSAID: Final[dict[JobPhase, tuple[str, str]]] = {
    JobPhase.PENDING: ("PendingEvaluation", "it was taken in and is still to be looked at"),
    JobPhase.QUEUED: ("PendingEvaluation", "it waits in its queue; nobody has said yet what for"),
    JobPhase.SCHEDULED: ("Scheduled", "it has its place and is starting"),
    JobPhase.RUNNING: ("Running", "it runs"),
    JobPhase.RETRYING: ("BackOff", "its last attempt failed; the next one begins after a pause"),
    JobPhase.HELD: ("OnHold", "it is held back until somebody releases it"),
    JobPhase.SUCCEEDED: ("Succeeded", "it has ended well"),
    JobPhase.FAILED: ("Failed", "it has ended, and no retry can help"),
    JobPhase.DEAD_LETTER: ("DeadLetter", "its retries are used up"),
    JobPhase.CANCELLED: ("Cancelled", "it was cancelled"),
}
_SETTLED: Final = ENDED | {JobPhase.HELD, JobPhase.RETRYING}
"""Phases whose reason cannot change while a job is in them."""


def why(job: Job) -> WhyAnswer:
    """The reason as it was stored. What a waiting job waits for may be another thing by now, and that is said."""
    reason, message = _UNSAID[job.phase]
    return WhyAnswer(
        job_id=str(job.id),
        phase=job.phase,
        reason=job.reason or reason,
        message=job.message or message,
        since=job.updated_at,
        stale=job.phase not in _SETTLED,
    )
