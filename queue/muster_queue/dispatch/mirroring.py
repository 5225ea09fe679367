"""How a job's row and its AIJob come to agree: one step at a time, each along the table of legal moves. Pure.

Both can be changed at any time. What was asked of the row (over REST) and is not in the AIJob yet is a wish, and is
carried there first; without a wish the AIJob is right, and the row follows. A row that is Cancelled is never changed
again: its AIJob goes. Steps are decided on what was read a moment ago, so whoever takes them fences them by the row's
version; then both are read again, until there is nothing left to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from muster_api.jobs import AIJob, AttemptRecord, Execution
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_queue.jobs.lifecycle import record_of
from muster_queue.jobs.ordering import moment_text, stated_id
from muster_queue.jobs.telling import asked_retry
from muster_queue.storage.records import Reflection, Wish
from muster_queue.storage.transitions import ENDED, STARTED, is_legal

HOLDER: Final = "kubernetes"

_BY_ATTEMPT: Final = frozenset({JobPhase.SUCCEEDED, JobPhase.DEAD_LETTER, JobPhase.RETRYING})
"""Only an attempt leads there."""
_NEVER_LEFT: Final = frozenset({JobPhase.SUCCEEDED, JobPhase.CANCELLED})


@dataclass(frozen=True, slots=True)
class Seen:
    """The AIJob as it was last seen; None once nothing of it is known any more."""

    job: AIJob | None
    is_gone: bool = False
    """It was deleted, and this is how it stood."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt has begun there: it is claimed here."""

    target: JobPhase
    holder: str
    gpus: int


@dataclass(frozen=True, slots=True)
class Shift:
    """The row goes to another phase, or changes without one; with what ended its attempt."""

    target: JobPhase | None = None
    reason: str | None = None
    message: str | None = None
    retries: int | None = None
    priority: int | None = None
    failure: str | None = None
    exit_code: int | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Adopt:
    """This AIJob stands for the row from now on."""

    uid: str
    is_ours: bool


@dataclass(frozen=True, slots=True)
class Carry:
    """The AIJob is to be changed: None leaves alone."""

    priority: int | None = None
    suspend: bool | None = None
    retry: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """The AIJob is to go."""

    uid: str


@dataclass(frozen=True, slots=True)
class Carried:
    """The AIJob says all that was asked of the row."""


@dataclass(frozen=True, slots=True)
class Tell:
    """The row says why it is where it is in the AIJob's words."""

    reason: str
    message: str


Step = Claim | Shift | Adopt | Carry | Delete | Carried | Tell


def next_step(row: Reflection, seen: Seen) -> Step | None:
    """What brings the two closer to each other; None when they agree, or somebody else has to move first."""
    job = seen.job
    if row.is_gone:
        return _after_the_end(row, seen)
    if job is None:
        return _farewell(row)
    if row.object_uid not in (None, job.metadata.uid):
        # It was made for this job again: what the row knew is deleted, and what it knows decides.
        return None if seen.is_gone else _farewell(row)
    if row.object_uid is None:
        return Adopt(job.metadata.uid, is_ours=stated_id(job.metadata) is not None)
    if row.phase is JobPhase.CANCELLED:
        return _after_the_end(row, seen)
    if row.wishes and not seen.is_gone:
        return _carry(row, job) or Carried()
    return _follow(row, job) or (_farewell(row) if seen.is_gone else _agree_on_words(row, job))


def phase_meant(job: AIJob) -> JobPhase:
    """Where an AIJob is, or will be as soon as its controller has looked at its spec."""
    phase = job.status.phase
    if phase in ENDED:
        return JobPhase.QUEUED if _is_to_begin_anew(job) else phase
    if job.metadata.deletion_timestamp is not None:
        return JobPhase.CANCELLED
    if job.spec.suspend:
        return JobPhase.HELD
    if phase is JobPhase.HELD:
        return JobPhase.QUEUED
    if phase is JobPhase.PENDING and job.spec.execution is not Execution.POOL:
        return JobPhase.QUEUED
    return phase


def holder_of(job: AIJob, attempt: int | None = None) -> str:
    """Who has an attempt of an AIJob: names the object and its attempt, so that no attempt is claimed twice."""
    return f"{HOLDER}/{job.metadata.uid}/{job.status.attempt if attempt is None else attempt}"


def retry_token(row: Reflection) -> str:
    """The value that begins the AIJob anew: another one each time that the row was queued."""
    return moment_text(row.queued_at) if row.queued_at is not None else str(row.version)


def _is_to_begin_anew(job: AIJob) -> bool:
    asked = asked_retry(job)
    is_over = job.status.phase in (JobPhase.FAILED, JobPhase.DEAD_LETTER)
    return is_over and bool(asked) and job.status.observed_generation > 0 and asked != job.status.observed_retry


def _after_the_end(row: Reflection, seen: Seen) -> Step | None:
    """A row that is Cancelled, or gone: no AIJob of it stays, but one that says the same."""
    job = seen.job
    if job is None or seen.is_gone:
        return None if row.is_gone else Shift(is_gone=True)
    if _was_made_again(row, job):
        return Delete(job.metadata.uid) if job.metadata.deletion_timestamp is None else None
    is_meant = row.phase is JobPhase.CANCELLED and row.object_uid in (None, job.metadata.uid)
    if is_meant and job.status.phase is not JobPhase.CANCELLED and job.metadata.deletion_timestamp is None:
        return Delete(job.metadata.uid)
    return Carried() if row.wishes and job.status.phase is JobPhase.CANCELLED else None


def _was_made_again(row: Reflection, job: AIJob) -> bool:
    """The first one was deleted while the second was on its way: whoever made it did not know that yet.

    Nobody but the leader makes AIJobs that name a job, so this is no user's.
    """
    return row.object_uid not in (None, job.metadata.uid) and stated_id(job.metadata) == row.id


def _farewell(row: Reflection) -> Step | None:
    """Its AIJob is gone: what had not ended was cancelled by that, and the name is free again."""
    if row.object_uid is None:
        return None
    if row.phase in ENDED:
        return Shift(is_gone=True)
    failure = "deleted" if row.phase in STARTED else None
    return Shift(JobPhase.CANCELLED, Reason.DELETED, "its AIJob was deleted", failure=failure, is_gone=True)


def _carry(row: Reflection, job: AIJob) -> Carry | None:
    """What the AIJob does not say yet; one that has ended hears of nothing but a retry."""
    has_ended = phase_meant(job) in ENDED
    priority = suspend = retry = None
    if (
        row.wishes & Wish.RETRY
        and row.phase not in ENDED
        and job.status.phase
        in (
            JobPhase.FAILED,
            JobPhase.DEAD_LETTER,
        )
    ):
        token = retry_token(row)
        retry, has_ended = (token if has_ended and asked_retry(job) != token else None), False
    if has_ended or job.metadata.deletion_timestamp is not None:
        return None
    if row.wishes & Wish.PRIORITY and job.spec.priority != row.priority:
        priority = row.priority
    if row.wishes & Wish.PHASE and job.spec.suspend != (row.phase is JobPhase.HELD) and row.phase not in ENDED:
        suspend = row.phase is JobPhase.HELD
    return None if (priority, suspend, retry) == (None, None, None) else Carry(priority, suspend, retry)


def _follow(row: Reflection, job: AIJob) -> Step | None:
    """The next move of the row to where the AIJob is; None when it is there, or can never come there."""
    target = phase_meant(job)
    if row.phase in _NEVER_LEFT:
        return None
    if row.phase in STARTED:
        return _go_on(row, job, target)
    if row.phase is target:
        return None
    if target in STARTED:
        return _claim(row, job, target)
    if _needs_attempt(row, job, target):
        return _claim(row, job, JobPhase.RUNNING)
    return _move(row, job, target)


def _go_on(row: Reflection, job: AIJob, target: JobPhase) -> Step | None:
    """An attempt is open here: it goes on there, or it has ended."""
    is_same = row.holder == holder_of(job)
    if target in STARTED and is_same:
        if target is row.phase:
            return None
        return _shift(job, target) if target is JobPhase.RUNNING else _close(row, job, JobPhase.QUEUED)
    is_of_another = not is_same and (target in _BY_ATTEMPT or target is JobPhase.FAILED)
    return _close(row, job, JobPhase.QUEUED if target in STARTED or is_of_another else _closable(target))


def _closable(target: JobPhase) -> JobPhase:
    return JobPhase.QUEUED if target is JobPhase.PENDING else target


def _needs_attempt(row: Reflection, job: AIJob, target: JobPhase) -> bool:
    """Whether an attempt has led there that nobody here has seen."""
    if target not in _BY_ATTEMPT and not (target is JobPhase.FAILED and _ended_with_attempt(job)):
        return False
    return target is JobPhase.SUCCEEDED or row.holder != holder_of(job)


def _ended_with_attempt(job: AIJob) -> bool:
    record = record_of(job.status, job.status.attempt)
    return record is not None and record.end_time is not None and record.end_time == job.status.completion_time


def _claim(row: Reflection, job: AIJob, target: JobPhase) -> Step:
    if row.phase is JobPhase.QUEUED:
        return Claim(target, holder_of(job), job.status.gpus)
    return _shift(job, JobPhase.QUEUED)


def _move(row: Reflection, job: AIJob, target: JobPhase) -> Step | None:
    """To a phase that needs no attempt: directly, or by being queued again."""
    if target is JobPhase.RETRYING or (row.phase, target) == (JobPhase.QUEUED, JobPhase.PENDING):
        # It fell back there from an attempt that is closed here already: the row is ahead, and is caught up with.
        return None
    if (row.phase, target) == (JobPhase.QUEUED, JobPhase.DEAD_LETTER):
        return _shift(job, JobPhase.FAILED)
    return _shift(job, target if is_legal(row.phase, target) else JobPhase.QUEUED)


def _shift(job: AIJob, target: JobPhase) -> Shift:
    """With the AIJob's words where these are about that phase."""
    status = job.status
    is_about_it = target is status.phase
    reason = status.reason if is_about_it else Reason.SUSPENDED if target is JobPhase.HELD else None
    return Shift(target, reason, _words(status.message) if is_about_it else None, retries=status.retries)


def _close(row: Reflection, job: AIJob, target: JobPhase) -> Shift:
    """The end of the open attempt, with what is on record of it."""
    shift, record = _shift(job, target), _record(row, job)
    failure = record.failure if record is not None else _cause(target)
    message = shift.message if shift.message is not None else _words(record.message) if record is not None else None
    return Shift(
        target,
        shift.reason,
        message,
        retries=job.status.retries,
        failure=failure,
        exit_code=record.exit_code if record is not None else None,
    )


def _record(row: Reflection, job: AIJob) -> AttemptRecord | None:
    uid, _, number = row.holder.removeprefix(f"{HOLDER}/").rpartition("/")
    return record_of(job.status, int(number)) if uid == job.metadata.uid and number.isdigit() else None


def _cause(target: JobPhase) -> str | None:
    """Where the AIJob has not written it down yet, or never does."""
    return {JobPhase.HELD: "suspended", JobPhase.CANCELLED: "cancelled"}.get(target)


def _agree_on_words(row: Reflection, job: AIJob) -> Step | None:
    """They are in the same phase: priority and reason may still differ."""
    wanted, status = job.spec.priority, job.status
    if wanted is not None and wanted != row.priority and row.phase not in _NEVER_LEFT:
        return Shift(priority=wanted)
    message = _words(status.message)
    if row.phase is status.phase and status.reason and (row.reason, row.message) != (status.reason, message):
        return Tell(status.reason, message)
    return None


def _words(message: str) -> str:
    """A process may say anything when it ends, and Postgres keeps no NUL character."""
    return message.replace("\0", "\ufffd")
