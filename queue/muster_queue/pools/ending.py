"""What becomes of a pool's job whose attempt has failed: pure, by the same policy as for jobs with pods."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from muster_api.jobs import FailureClass, JobRetryPolicy
from muster_api.objects import KubernetesStruct
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_queue.jobs.failures import LONGEST_MESSAGE, UNCOUNTED, AttemptEnd, backoff
from muster_queue.jobs.lifecycle import REASONS
from muster_queue.storage.records import Change

MOST_FORGIVEN: Final = 3
"""Attempts that end from outside and cost no retry; more of them do, or a job that kills its workers goes on for ever."""


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt that is about to be closed, and what its job says of retries."""

    job_id: UUID
    attempt: int
    retries: int
    """That were counted before."""
    spec: msgspec.Raw
    holder: str | None = None


class _Policy(KubernetesStruct, frozen=True, kw_only=True):
    retry_policy: JobRetryPolicy = JobRetryPolicy()


_POLICY: Final = msgspec.json.Decoder(_Policy)


def after_failure(failed: FailedAttempt, end: AttemptEnd) -> Change:
    """The change that closes the attempt: to Queued, Retrying, DeadLetter or, where no retry can help, Failed."""
    policy, reason = _policy_of(failed.spec), REASONS[end.failure]
    if end.failure is FailureClass.VALIDATION:
        return _closing(failed, end, JobPhase.FAILED, reason, f"{end.message}; no retry can help")
    outside = failed.attempt - 1 - failed.retries
    if end.failure in UNCOUNTED and outside < MOST_FORGIVEN:
        return _anew(failed, end, policy, outside)
    retries = failed.retries + 1
    if retries > policy.max_retries:
        text = f"{end.message}; all {policy.max_retries} retries are used up"
        return _closing(failed, end, JobPhase.DEAD_LETTER, Reason.RETRIES_EXHAUSTED, text)
    pause = backoff(policy, retries, str(failed.job_id))
    text = f"{end.message}; retry {retries} of {policy.max_retries} after {pause:.0f} s"
    return _waiting(failed, end, text, pause, retries)


def _anew(failed: FailedAttempt, end: AttemptEnd, policy: JobRetryPolicy, outside: int) -> Change:
    """At once the first time; what is ended from outside again and again gets slower."""
    pause = backoff(policy, outside, str(failed.job_id))
    when = f" after {pause:.0f} s" if pause else ""
    return _waiting(failed, end, f"{end.message}; it starts anew{when}, which costs no retry", pause, None)


def _waiting(failed: FailedAttempt, end: AttemptEnd, text: str, pause: float, retries: int | None) -> Change:
    if pause > 0:
        return _closing(failed, end, JobPhase.RETRYING, REASONS[end.failure], text, pause=pause, retries=retries)
    return _closing(failed, end, JobPhase.QUEUED, REASONS[end.failure], text, retries=retries)


def _closing(
    failed: FailedAttempt,
    end: AttemptEnd,
    target: JobPhase,
    reason: Reason,
    message: str,
    *,
    pause: float | None = None,
    retries: int | None = None,
) -> Change:
    return Change(
        job_id=failed.job_id,
        attempt=failed.attempt,
        holder=failed.holder,
        target=target,
        reason=reason,
        message=message[:LONGEST_MESSAGE],
        wake_seconds=pause,
        retries=retries,
        failure=end.failure,
        exit_code=end.exit_code,
    )


def _policy_of(spec: msgspec.Raw) -> JobRetryPolicy:
    try:
        return _POLICY.decode(spec).retry_policy
    except msgspec.DecodeError:
        # One row that cannot be read must not keep the attempts beside it from being closed.
        return JobRetryPolicy()
