"""What becomes of a job: its next status, from what stands in it, how its gang does, and what time it is.

Whatever cannot be taken back is written into the job first and acted on afterwards: an attempt is recorded as over
before its gang is taken down, and a job is Cancelled before its pods go. A controller that dies in between finds the
record and goes on from there; no attempt is counted twice and none runs twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from muster_api.jobs import AIJob, AIJobStatus, AttemptRecord, Execution, FailureClass
from muster_api.names import CANCEL_ANNOTATION, RETRY_ANNOTATION
from muster_api.phases import GangPhase, JobPhase
from muster_api.reasons import Reason
from muster_planner.wording import members_text
from muster_queue.jobs.failures import UNCOUNTED, AttemptEnd, backoff
from muster_queue.jobs.ordering import waiting_since
from muster_queue.jobs.telling import asked_retry, told, wall_time
from muster_queue.jobs.views import GangFacts, JobView

TERMINAL: Final = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.DEAD_LETTER, JobPhase.CANCELLED})
BEGUN: Final = frozenset({GangPhase.COMMITTED, GangPhase.RUNNING, GangPhase.EVICTING, GangPhase.FAILED})
"""From the commit on an attempt counts as one: before it, nothing has run."""
UNDER_WAY: Final = frozenset({GangPhase.RESERVED, GangPhase.RELEASED, GangPhase.COMMITTED})

MOST_RECORDS: Final = 10

REASONS: Final = {
    FailureClass.EXIT_CODE: Reason.MEMBER_FAILED,
    FailureClass.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    FailureClass.PREEMPTED: Reason.PREEMPTED,
    FailureClass.NODE_LOST: Reason.NODE_LOST,
    FailureClass.IMAGE: Reason.IMAGE_PULL,
    FailureClass.VALIDATION: Reason.VALIDATION,
    FailureClass.TIMEOUT: Reason.RUN_TIMEOUT,
    FailureClass.DELETED: Reason.MEMBER_DELETED,
    FailureClass.SUSPENDED: Reason.SUSPENDED,
    FailureClass.CANCELLED: Reason.CANCELLED,
    FailureClass.BROKEN: Reason.GANG_BROKEN,
}


@dataclass(frozen=True, slots=True)
class JobDecision:
    """The status that should stand there, and when to look again."""

    status: AIJobStatus
    is_binding: bool = False
    """It decides something: nothing is done about the gang before it is written."""
    recheck_after: float | None = None
    expires: bool = False
    """Its time to live is over: the object goes."""


def decide_job(view: JobView) -> JobDecision:
    """The first rule that applies, from the end of a job back to its beginning."""
    job = view.job
    if job.metadata.deletion_timestamp is not None:
        return JobDecision(job.status)
    if job.status.phase in TERMINAL:
        return _ended(view)
    if view.gang is not None and view.gang.phase is GangPhase.SUCCEEDED:
        return _finish(view, JobPhase.SUCCEEDED, Reason.FINISHED, f"{members_text(view.gang.size)} succeeded")
    if job.metadata.annotations.get(CANCEL_ANNOTATION) == "true":
        return _finish(view, JobPhase.CANCELLED, Reason.CANCELLED, f"cancelled by the annotation {CANCEL_ANNOTATION}")
    if job.spec.suspend:
        return _hold(view)
    if job.status.phase is JobPhase.HELD:
        return JobDecision(_queued(view, Reason.PENDING_EVALUATION, "resumed", since=wall_time(view.now)), True)
    end = _end_of_attempt(view)
    if end is not None:
        return _close_attempt(view, end)
    return _go_on(view)


def refuse_job(view: JobView, message: str) -> JobDecision:
    """What it asks for cannot be read: it ends, and says why."""
    if view.job.status.phase in TERMINAL or view.job.metadata.deletion_timestamp is not None:
        return decide_job(view)
    return _finish(view, JobPhase.FAILED, Reason.INVALID, message)


def record_of(status: AIJobStatus, attempt: int) -> AttemptRecord | None:
    """The record of this attempt, once it is over."""
    return next((record for record in status.attempts if record.number == attempt), None)


def next_attempt(status: AIJobStatus) -> int:
    """The number after the last one on record."""
    return max((record.number for record in status.attempts), default=0) + 1


def is_recorded(job: AIJob, gang: GangFacts | None) -> bool:
    """Whether the attempt that the gang is about is known to be over."""
    return gang is not None and gang.attempt > 0 and record_of(job.status, gang.attempt) is not None


def pause_left(status: AIJobStatus, now: datetime) -> float:
    """Seconds of back-off before the next attempt."""
    if status.next_attempt_time is None:
        return 0.0
    return (datetime.fromisoformat(status.next_attempt_time) - now).total_seconds()


def _ended(view: JobView) -> JobDecision:
    status = view.job.status
    asked = asked_retry(view.job)
    if asked and asked != status.observed_retry and status.phase in (JobPhase.FAILED, JobPhase.DEAD_LETTER):
        return _again(view, asked)
    ttl = view.job.spec.ttl_seconds_after_finished
    if ttl is None or status.completion_time is None:
        return JobDecision(status)
    left = (datetime.fromisoformat(status.completion_time) - view.now).total_seconds() + ttl
    return JobDecision(status, expires=left <= 0, recheck_after=max(left, 0.0))


def _again(view: JobView, asked: str) -> JobDecision:
    """A dead letter is sent once more, with all its retries."""
    status = _queued(view, Reason.RETRY_REQUESTED, f"begun anew by the annotation {RETRY_ANNOTATION}", since=_now(view))
    fresh = msgspec.structs.replace(
        status, retries=0, completion_time=None, start_time=None, next_attempt_time=None, observed_retry=asked
    )
    return JobDecision(fresh, is_binding=True)


def _finish(view: JobView, phase: JobPhase, reason: Reason, message: str) -> JobDecision:
    status = _with_record(view, AttemptEnd(FailureClass.CANCELLED, message)) if phase is JobPhase.CANCELLED else None
    status = status or view.job.status
    if view.gang is not None and phase is JobPhase.SUCCEEDED:
        started = view.gang.committed_at or status.start_time
        status = msgspec.structs.replace(status, attempt=view.gang.attempt, start_time=started)
    finished = msgspec.structs.replace(status, completion_time=_now(view), next_attempt_time=None)
    ready = f"0/{view.members}"
    return JobDecision(told(view, finished, phase, reason, message, ready=ready), is_binding=True)


def _hold(view: JobView) -> JobDecision:
    status = _with_record(view, AttemptEnd(FailureClass.SUSPENDED, "suspended")) or view.job.status
    is_news = status is not view.job.status or status.phase is not JobPhase.HELD
    held = msgspec.structs.replace(status, next_attempt_time=None, queued_time=None)
    message = "spec.suspend is true; set it to false to let the job go on"
    return JobDecision(told(view, held, JobPhase.HELD, Reason.SUSPENDED, message, ready=""), is_binding=is_news)


def _end_of_attempt(view: JobView) -> AttemptEnd | None:
    """What ends the present attempt now; None when nothing does, or its end is on record."""
    gang, limit = view.gang, view.job.spec.timeout_seconds
    if gang is None or gang.phase not in BEGUN or is_recorded(view.job, gang):
        return None
    if gang.end is not None:
        return gang.end
    if limit is not None and _run_time_left(view, gang, limit) <= 0:
        return AttemptEnd(FailureClass.TIMEOUT, f"the attempt ran for longer than the {limit} s of timeoutSeconds")
    return None


def _run_time_left(view: JobView, gang: GangFacts, limit: int) -> float:
    if gang.committed_at is None:
        return float(limit)
    return (datetime.fromisoformat(gang.committed_at) - view.now).total_seconds() + limit


def _close_attempt(view: JobView, end: AttemptEnd) -> JobDecision:
    """Write the attempt down as over, and what comes next."""
    status = _with_record(view, end)
    assert status is not None
    policy, reason = view.job.spec.retry_policy, REASONS[end.failure]
    counted = 0 if end.failure in UNCOUNTED else 1
    status = msgspec.structs.replace(status, retries=status.retries + counted)
    ready = f"0/{view.members}"
    if end.failure is FailureClass.VALIDATION:
        return _give_up(view, status, JobPhase.FAILED, reason, f"{end.message}; no retry can help")
    if status.retries > policy.max_retries:
        status = msgspec.structs.replace(status, retries=policy.max_retries)
        text = f"{end.message}; all {policy.max_retries} retries are used up"
        return _give_up(view, status, JobPhase.DEAD_LETTER, Reason.RETRIES_EXHAUSTED, text)
    again = _in_a_row(status)
    if not counted and again == 1:
        status = msgspec.structs.replace(status, queued_time=_now(view), next_attempt_time=None)
        text = f"{end.message}; it starts anew, which costs no retry"
        return JobDecision(told(view, status, JobPhase.QUEUED, reason, text, ready=ready), is_binding=True)
    pause = backoff(policy, status.retries if counted else again - 1, view.job.metadata.uid)
    moment = wall_time(view.now + timedelta(seconds=pause), up=True)
    status = msgspec.structs.replace(status, queued_time=moment, next_attempt_time=moment)
    which = f"retry {status.retries} of {policy.max_retries}" if counted else "it starts anew, which costs no retry,"
    text = f"{end.message}; {which} after {pause:.0f} s"
    return JobDecision(told(view, status, JobPhase.RETRYING, reason, text, ready=ready), is_binding=True)


def _in_a_row(status: AIJobStatus) -> int:
    """How many of the last attempts were ended from outside, one after the other: what goes on for ever gets slower."""
    outside = UNCOUNTED - {FailureClass.SUSPENDED, FailureClass.CANCELLED}
    return sum(1 for _ in itertools.takewhile(lambda record: record.failure in outside, reversed(status.attempts)))


def _give_up(view: JobView, status: AIJobStatus, phase: JobPhase, reason: Reason, message: str) -> JobDecision:
    ended = msgspec.structs.replace(status, completion_time=_now(view), next_attempt_time=None)
    return JobDecision(told(view, ended, phase, reason, message, ready=f"0/{view.members}"), is_binding=True)


def _with_record(view: JobView, end: AttemptEnd) -> AIJobStatus | None:
    """The status with the present attempt recorded as over; None where none has begun, or it is on record."""
    gang, status = view.gang, view.job.status
    if gang is None or gang.phase not in BEGUN or gang.attempt <= 0 or is_recorded(view.job, gang):
        return None
    record = AttemptRecord(
        number=gang.attempt,
        failure=end.failure,
        exit_code=end.exit_code,
        member=end.member,
        message=end.message[:1024],
        start_time=gang.committed_at,
        end_time=_now(view),
    )
    records = (*status.attempts, record)[-MOST_RECORDS:]
    return msgspec.structs.replace(status, attempt=gang.attempt, attempts=records)


def _go_on(view: JobView) -> JobDecision:
    """Nothing has to be decided: say how it stands."""
    gang, status = view.gang, view.job.status
    if gang is not None and gang.phase in UNDER_WAY:
        return _scheduled(view, gang)
    if gang is not None and gang.phase is GangPhase.RUNNING and not is_recorded(view.job, gang):
        return _running(view, gang)
    if gang is not None and gang.phase is not GangPhase.PENDING:
        # Its last attempt is on record and is being cleared away: what was written then still holds.
        return JobDecision(status)
    return _waiting(view)


def _scheduled(view: JobView, gang: GangFacts) -> JobDecision:
    if is_recorded(view.job, gang):
        return JobDecision(view.job.status)
    status = msgspec.structs.replace(view.job.status, attempt=gang.attempt, next_attempt_time=None)
    reason = _known(gang.reason, Reason.RESERVED)
    limit = view.job.spec.timeout_seconds if gang.phase is GangPhase.COMMITTED else None
    recheck = max(0.0, _run_time_left(view, gang, limit)) if limit is not None else None
    new = told(view, status, JobPhase.SCHEDULED, reason, gang.message, ready=f"{gang.running}/{gang.size}")
    return JobDecision(new, recheck_after=recheck)


def _running(view: JobView, gang: GangFacts) -> JobDecision:
    status = msgspec.structs.replace(
        view.job.status, attempt=gang.attempt, start_time=gang.committed_at, next_attempt_time=None
    )
    limit = view.job.spec.timeout_seconds
    recheck = max(0.0, _run_time_left(view, gang, limit)) if limit is not None else None
    text = f"attempt {gang.attempt} runs with {members_text(gang.size)}"
    new = told(view, status, JobPhase.RUNNING, Reason.SCHEDULED, text, ready=f"{gang.running}/{gang.size}")
    return JobDecision(new, recheck_after=recheck)


def _waiting(view: JobView) -> JobDecision:
    """No place yet: backing off, held up by something, or in the queue with the gang's own reason."""
    status = view.job.status
    pause = pause_left(status, view.now)
    if pause > 0:
        return JobDecision(status, recheck_after=pause)
    since = status.queued_time or waiting_since(view.job.metadata) or _now(view)
    limit = view.job.spec.queue_timeout_seconds
    left = None if limit is None else (datetime.fromisoformat(since) - view.now).total_seconds() + limit
    if left is not None and left <= 0:
        text = f"no place within the {limit} s of queueTimeoutSeconds; it waited for: {status.message or status.reason}"
        return _finish(view, JobPhase.FAILED, Reason.QUEUE_TIMEOUT, text)
    reason, message = _why_waiting(view)
    return JobDecision(_queued(view, reason, message, since=since), recheck_after=left)


def _why_waiting(view: JobView) -> tuple[Reason, str]:
    if view.hindrance is not None:
        return view.hindrance.reason, view.hindrance.message
    gang = view.gang
    if gang is not None and gang.reason:
        return _known(gang.reason, Reason.PENDING_EVALUATION), gang.message
    return Reason.PENDING_EVALUATION, "waits for its first plan"


def _queued(view: JobView, reason: Reason, message: str, *, since: str) -> AIJobStatus:
    phase = JobPhase.PENDING if view.job.spec.execution is Execution.POOL else JobPhase.QUEUED
    status = msgspec.structs.replace(view.job.status, queued_time=since, next_attempt_time=None)
    return told(view, status, phase, reason, message, ready=f"0/{view.members}")


def _known(reason: str, otherwise: Reason) -> Reason:
    return next((known for known in Reason if known == reason), otherwise)


def _now(view: JobView) -> str:
    return wall_time(view.now)
