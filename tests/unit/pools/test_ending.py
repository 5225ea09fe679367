from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_api.jobs import FailureClass
from muster_api.phases import JobPhase
from muster_queue.jobs.failures import LONGEST_BACKOFF, AttemptEnd
from muster_queue.pools.ending import MOST_FORGIVEN, FailedAttempt, after_failure
from muster_queue.storage.transitions import is_legal

JOB = UUID("0198d8a0-0000-7000-8000-000000000001")


def failed(attempt: int = 1, retries: int = 0, **policy: Any) -> FailedAttempt:
    spec = msgspec.Raw(msgspec.json.encode({"jobType": "simulation", "retryPolicy": policy}))
    return FailedAttempt(job_id=JOB, attempt=attempt, retries=retries, spec=spec, holder="a/b/c")


def end(failure: FailureClass = FailureClass.EXIT_CODE) -> AttemptEnd:
    return AttemptEnd(failure, "it broke", 1)


def test_a_failure_waits_for_its_back_off_and_counts() -> None:
    change = after_failure(failed(backoffSeconds=10, maxRetries=2), end())
    assert (change.target, change.retries, change.failure) == (JobPhase.RETRYING, 1, "exitCode")
    assert change.wake_seconds is not None and 10 <= change.wake_seconds <= 11
    assert (change.attempt, change.holder, change.exit_code) == (1, "a/b/c", 1)


def test_without_back_off_it_is_queued_at_once() -> None:
    change = after_failure(failed(backoffSeconds=0), end())
    assert (change.target, change.wake_seconds, change.retries) == (JobPhase.QUEUED, None, 1)


def test_after_its_last_retry_it_is_a_dead_letter() -> None:
    change = after_failure(failed(attempt=3, retries=2, maxRetries=2), end())
    assert change.target is JobPhase.DEAD_LETTER
    assert change.message == "it broke; all 2 retries are used up"


def test_what_no_retry_can_help_fails() -> None:
    assert after_failure(failed(), end(FailureClass.VALIDATION)).target is JobPhase.FAILED


def test_an_end_from_outside_costs_nothing_at_first_and_then_does() -> None:
    changes = [
        after_failure(failed(attempt=number + 1, maxRetries=5), end(FailureClass.NODE_LOST))
        for number in range(MOST_FORGIVEN + 1)
    ]
    assert [change.retries for change in changes] == [None] * MOST_FORGIVEN + [1]
    assert changes[0].target is JobPhase.QUEUED
    assert [change.target for change in changes[1:]] == [JobPhase.RETRYING] * MOST_FORGIVEN


def test_a_job_that_kills_every_worker_ends() -> None:
    retries = 0
    for attempt in range(1, 50):
        change = after_failure(failed(attempt=attempt, retries=retries, maxRetries=3), end(FailureClass.NODE_LOST))
        if change.target is JobPhase.DEAD_LETTER:
            assert attempt == MOST_FORGIVEN + 3 + 1
            return
        retries = retries if change.retries is None else change.retries
    pytest.fail("it goes on for ever")


def test_a_specification_that_cannot_be_read_gets_the_usual_policy() -> None:
    broken = FailedAttempt(job_id=JOB, attempt=1, retries=0, spec=msgspec.Raw(b'{"retryPolicy": 7}'))
    assert after_failure(broken, end()).target is JobPhase.RETRYING


@given(
    attempt=st.integers(1, 200),
    retries=st.integers(0, 100),
    failure=st.sampled_from(FailureClass),
    most=st.integers(0, 100),
    seconds=st.integers(0, 3600),
    multiplier=st.floats(1, 10),
)
def test_every_end_is_a_legal_move_that_does_not_wait_too_long(
    attempt: int, retries: int, failure: FailureClass, most: int, seconds: int, multiplier: float
) -> None:
    one = failed(attempt, retries, maxRetries=most, backoffSeconds=seconds, backoffMultiplier=multiplier)
    change = after_failure(one, end(failure))
    assert change.target is not None and is_legal(JobPhase.RUNNING, change.target)
    assert change.wake_seconds is None or 0 < change.wake_seconds <= LONGEST_BACKOFF
    assert change.retries is None or retries < change.retries <= most
