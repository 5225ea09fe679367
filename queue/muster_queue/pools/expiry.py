"""What the leader does with attempts that nobody ends any more: their lease is over, or their time. Pure."""

from __future__ import annotations

from muster_api.jobs import FailureClass
from muster_queue.jobs.failures import AttemptEnd
from muster_queue.pools.ending import FailedAttempt, after_failure
from muster_queue.storage.records import Change, ExpiredAttempt, Job


def after_silence(expired: ExpiredAttempt) -> Change:
    """For `Attempts.expire`, which refuses it where a heartbeat, an acknowledgement or a cancellation came first."""
    silent = f"the worker {expired.holder} has not been heard of since attempt {expired.attempt} began or last beat"
    failed = FailedAttempt(
        job_id=expired.job_id,
        attempt=expired.attempt,
        retries=expired.retries,
        spec=expired.spec,
        holder=expired.holder,
    )
    return after_failure(failed, AttemptEnd(FailureClass.NODE_LOST, silent))


def after_timeout(job: Job) -> Change:
    """For `Attempts.fail`, for a Running job of `execution: pool` whose `wake_at` is over; fenced by its attempt."""
    failed = FailedAttempt(job_id=job.id, attempt=job.attempt, retries=job.retries, spec=job.spec)
    return after_failure(failed, AttemptEnd(FailureClass.TIMEOUT, f"attempt {job.attempt} ran for too long"))
