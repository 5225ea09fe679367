"""What users may do to a job in which phase, and what becomes of it: pure."""

from __future__ import annotations

from typing import Final

import msgspec

from muster_api.phases import JobPhase
from muster_queue.storage.records import Change as StoredChange
from muster_queue.storage.records import Job
from muster_queue.storage.transitions import STARTED, WAITING


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One of the things that users do."""

    action: str
    """As the audit calls it."""
    allowed: frozenset[JobPhase]
    target: JobPhase
    reason: str
    message: str
    from_the_beginning: bool = False
    """Whether all its retries are there again."""
    elsewhere: str = ""
    """What to do instead, in the phases in which this cannot be done."""


_OPEN: Final = WAITING | STARTED

CANCEL: Final = Rule(
    action="cancel",
    allowed=_OPEN,
    target=JobPhase.CANCELLED,
    reason="Cancelled",
    message="cancelled by {actor}",
    elsewhere="a dead letter is dropped at /api/v1/dead-letters",
)
HOLD: Final = Rule(
    action="hold",
    allowed=_OPEN - {JobPhase.HELD},
    target=JobPhase.HELD,
    reason="Held",
    message="held by {actor}; it goes on once somebody releases it",
)
RELEASE: Final = Rule(
    action="release",
    allowed=frozenset({JobPhase.HELD}),
    target=JobPhase.QUEUED,
    reason="Released",
    message="released by {actor}",
)
RETRY: Final = Rule(
    action="retry",
    allowed=frozenset({JobPhase.FAILED, JobPhase.DEAD_LETTER}),
    target=JobPhase.QUEUED,
    reason="RetryRequested",
    message="begun anew by {actor}",
    from_the_beginning=True,
    elsewhere="submit the job again",
)
REQUEUE: Final = Rule(
    action="requeue",
    allowed=frozenset({JobPhase.DEAD_LETTER}),
    target=JobPhase.QUEUED,
    reason="Requeued",
    message="begun anew by {actor}",
    from_the_beginning=True,
)
DROP: Final = Rule(
    action="drop",
    allowed=frozenset({JobPhase.DEAD_LETTER}),
    target=JobPhase.CANCELLED,
    reason="Dropped",
    message="dropped by {actor}",
)
PRIORITY: Final = "priority"
PRIORITY_PHASES: Final = WAITING


def planned_change(rule: Rule, job: Job, actor: str, queue_timeout: float | None) -> StoredChange:
    """What is written, fenced by the version that was looked at. A job that waits again may wait its whole time."""
    return StoredChange(
        job_id=job.id,
        target=rule.target,
        version=job.version,
        reason=rule.reason,
        message=rule.message.format(actor=actor),
        retries=0 if rule.from_the_beginning else None,
        wake_seconds=queue_timeout if rule.target is JobPhase.QUEUED else None,
    )


def refusal(action: str, phase: JobPhase, allowed: frozenset[JobPhase], elsewhere: str = "") -> str:
    """Why not, and when it could be done."""
    could = ", ".join(each for each in JobPhase if each in allowed)
    text = f"the job is {phase}; {action} is for jobs that are {could}"
    return f"{text}; {elsewhere}" if elsewhere else text
