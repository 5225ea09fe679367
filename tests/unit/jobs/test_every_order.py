"""Every order of events, crashes and stale copies: no attempt runs twice or is counted twice, none follows the end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bones.job_views import START, make_end, make_facts, make_job, make_job_view
from muster_api.jobs import AIJob, FailureClass, JobRetryPolicy
from muster_api.names import CANCEL_ANNOTATION, RETRY_ANNOTATION
from muster_api.phases import GangPhase, JobPhase
from muster_queue.jobs.failures import UNCOUNTED
from muster_queue.jobs.lifecycle import TERMINAL, decide_job, next_attempt, pause_left
from muster_queue.jobs.telling import wall_time
from muster_queue.jobs.views import GangFacts
from muster_queue.jobs.wants import Wants, wants_of

MAX_RETRIES = 2
TAKEN_BACK = {GangPhase.RESERVED: GangPhase.PENDING, GangPhase.COMMITTED: GangPhase.EVICTING}
STOPPED = TAKEN_BACK | {GangPhase.RUNNING: GangPhase.EVICTING}


class Jobs(RuleBasedStateMachine):
    """One job and its gang as the API server has them; controllers see the job as it is now, or as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.history = [make_job(retry_policy=JobRetryPolicy(max_retries=MAX_RETRIES, backoff_seconds=60))]
        self.gang: GangFacts | None = None
        self.seconds = 0.0
        self.begun: list[int] = []

    @property
    def job(self) -> AIJob:
        return self.history[-1]

    def seen(self, age: int) -> AIJob:
        return self.history[max(0, len(self.history) - 1 - age)]

    def wants(self, age: int) -> Wants:
        return wants_of(make_job_view(self.seen(age), self.gang, after=self.seconds))

    # -- users and time

    @rule(seconds=st.sampled_from([1.0, 90.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(suspend=st.booleans())
    @precondition(lambda self: len(self.begun) > 1)
    def suspend_or_resume(self, *, suspend: bool) -> None:
        self.store(msgspec.structs.replace(self.job, spec=msgspec.structs.replace(self.job.spec, suspend=suspend)))

    @rule(key=st.sampled_from([CANCEL_ANNOTATION, RETRY_ANNOTATION]), value=st.sampled_from(["true", "again"]))
    @precondition(lambda self: len(self.begun) > 1)
    def annotate(self, key: str, value: str) -> None:
        annotations = {**self.job.metadata.annotations, key: value}
        metadata = msgspec.structs.replace(self.job.metadata, annotations=annotations)
        self.store(msgspec.structs.replace(self.job, metadata=metadata))

    # -- a controller, which may be a new one with an old copy

    @rule(age=st.just(0), crash=st.integers(1, 3))
    def look(self, age: int, crash: int) -> None:
        """All that follows from one look, or only the first steps of it."""
        for step in (self.write_the_job, self.take_down, self.plan)[:crash]:
            step(age)

    @rule(age=st.integers(0, 3))
    def look_again(self, age: int) -> None:
        """Another controller, perhaps with another copy."""
        self.look(age, 3)

    def write_the_job(self, age: int) -> None:
        seen = self.seen(age)
        status = decide_job(make_job_view(seen, self.gang, after=self.seconds)).status
        if seen is self.job and status != seen.status:
            self.store(msgspec.structs.replace(seen, status=status))

    def plan(self, age: int) -> None:
        if not self.wants(age).place or (self.gang is not None and self.gang.phase is not GangPhase.PENDING):
            return
        assert pause_left(self.job.status, START + timedelta(seconds=self.seconds)) <= 0, "before its back-off is over"
        attempt = (self.gang.attempt if self.gang is not None else 0) or next_attempt(self.seen(age).status)
        self.gang = make_facts(GangPhase.RESERVED, attempt=attempt)

    def take_down(self, age: int) -> None:
        wants, gang = self.wants(age), self.gang
        if gang is None or wants.stop is None:
            return
        if gang.phase in STOPPED:
            self.gang = replace(gang, phase=STOPPED[gang.phase])
        elif gang.phase is GangPhase.EVICTING and not wants.again:
            self.gang = replace(gang, phase=GangPhase.FAILED)
        elif wants.again and gang.phase in (GangPhase.EVICTING, GangPhase.FAILED):
            self.gang = make_facts(GangPhase.PENDING, attempt=gang.attempt + 1)

    # -- the extender and the pods

    @rule()
    @precondition(lambda self: self.gang is not None and self.gang.phase is GangPhase.RESERVED)
    def commit(self) -> None:
        assert self.gang is not None
        moment = wall_time(START + timedelta(seconds=self.seconds))
        self.gang = replace(self.gang, phase=GangPhase.COMMITTED, committed_at=moment)
        self.begun.append(self.gang.attempt)
        self.go_on(success=False)

    @rule(failure=st.sampled_from([FailureClass.EXIT_CODE, FailureClass.PREEMPTED, FailureClass.VALIDATION]))
    @precondition(lambda self: self.gang is not None and self.gang.phase is GangPhase.RUNNING)
    def fail(self, failure: FailureClass) -> None:
        assert self.gang is not None
        self.gang = replace(self.gang, end=make_end(failure))

    @rule(success=st.booleans())
    @precondition(lambda self: self.gang is not None and self.gang.end is None)
    def go_on(self, *, success: bool) -> None:
        assert self.gang is not None
        if self.gang.phase is GangPhase.COMMITTED:
            self.gang = replace(self.gang, phase=GangPhase.RUNNING)
        elif self.gang.phase is GangPhase.RUNNING and success and self.wants(0).stop is None:
            self.gang = replace(self.gang, phase=GangPhase.SUCCEEDED)

    def store(self, job: AIJob) -> None:
        before = self.job.status.phase
        if before in TERMINAL and job.status.phase is not before:
            assert job.status.phase is JobPhase.QUEUED
            assert before in (JobPhase.FAILED, JobPhase.DEAD_LETTER)
        self.history.append(job)

    # -- what always holds

    @invariant()
    def no_attempt_runs_twice(self) -> None:
        assert len(set(self.begun)) == len(self.begun), self.begun

    @invariant()
    def every_attempt_is_on_record_once(self) -> None:
        numbers = [record.number for record in self.job.status.attempts]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(self.begun)

    @invariant()
    def retries_are_those_that_count(self) -> None:
        status = self.job.status
        assert status.retries <= MAX_RETRIES
        if not status.observed_retry and len(status.attempts) < 10:
            counted = [
                r for r in status.attempts if r.failure not in UNCOUNTED and r.failure is not FailureClass.VALIDATION
            ]
            assert status.retries == min(len(counted), MAX_RETRIES) or status.phase is JobPhase.FAILED

    @invariant()
    def what_is_over_wants_nothing(self) -> None:
        if self.job.status.phase in TERMINAL:
            assert not self.wants(0).place


TestEveryOrder = Jobs.TestCase
TestEveryOrder.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
