"""How a job's status says what was decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from muster_api.conditions import with_condition
from muster_api.jobs import AIJob, AIJobStatus
from muster_api.names import RETRY_ANNOTATION
from muster_api.phases import JobPhase
from muster_api.quantities import LARGEST_INT64
from muster_api.reasons import Reason
from muster_queue.jobs.views import JobView

LONGEST_MESSAGE: Final = 1024

SCHEDULED: Final = "Scheduled"
RUNNING: Final = "Running"
FINISHED: Final = "Finished"

_IS_SCHEDULED: Final = frozenset({JobPhase.SCHEDULED, JobPhase.RUNNING, JobPhase.SUCCEEDED})
_IS_FINISHED: Final = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.DEAD_LETTER, JobPhase.CANCELLED})


def asked_retry(job: AIJob) -> str:
    """The value of the annotation that begins a failed job anew."""
    return job.metadata.annotations.get(RETRY_ANNOTATION, "")[:LONGEST_MESSAGE]


def told(
    view: JobView, status: AIJobStatus, phase: JobPhase, reason: Reason, message: str, *, ready: str
) -> AIJobStatus:
    """The status in this phase, with its words, its numbers, and the conditions that follow."""
    message = message[:LONGEST_MESSAGE]
    conditions = status.conditions
    now = wall_time(view.now)
    facts = (
        (SCHEDULED, phase in _IS_SCHEDULED),
        (RUNNING, phase is JobPhase.RUNNING),
        (FINISHED, phase in _IS_FINISHED),
    )
    for kind, is_true in facts:
        conditions = with_condition(conditions, kind, reason, message, now, is_true=is_true)
    # Until then a retry came with the manifest, which may be a copy of a job that was begun anew.
    is_known = view.job.status.observed_generation > 0
    return msgspec.structs.replace(
        status,
        phase=phase,
        reason=reason,
        message=message,
        ready=ready,
        gpus=min(view.gpus, LARGEST_INT64),
        observed_generation=view.job.metadata.generation,
        observed_retry=status.observed_retry if is_known else asked_retry(view.job),
        conditions=conditions,
    )


def wall_time(moment: datetime, *, up: bool = False) -> str:
    """A meta/v1 Time, which has whole seconds; `up` never names an earlier moment."""
    if up and moment.microsecond:
        moment += timedelta(seconds=1)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
