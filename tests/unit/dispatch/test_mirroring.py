"""A row and its AIJob, each in any state, come to agree by legal moves alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from muster_api.jobs import AIJob, AIJobSpec, AIJobStatus, AttemptRecord, FailureClass, JobType
from muster_api.names import JOB_ID_ANNOTATION, RETRY_ANNOTATION
from muster_api.objects import ObjectMeta
from muster_api.phases import JobPhase
from muster_queue.dispatch.mirroring import (
    Adopt,
    Carried,
    Carry,
    Claim,
    Delete,
    Seen,
    Shift,
    Tell,
    holder_of,
    next_step,
    phase_meant,
)
from muster_queue.storage.records import Change, Reflection
from muster_queue.storage.transitions import ENDED, STARTED

ID = UUID("01980000-0000-7000-8000-000000000001")
UID = "the-uid"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.DEAD_LETTER})
MOST_STEPS = 25


def make_job(phase: JobPhase, *, attempt: int = 0, retry: str = "", **changes: object) -> AIJob:
    """As the controller leaves one behind: each attempt before the last is on record."""
    is_over = phase not in STARTED
    last = attempt if is_over else attempt - 1
    records = tuple(
        AttemptRecord(number=number, failure=FailureClass.EXIT_CODE, exit_code=number, end_time="then")
        for number in range(1, last + 1)
        if (phase, number) != (JobPhase.SUCCEEDED, attempt)
    )
    annotations = {JOB_ID_ANNOTATION: str(ID)} | ({RETRY_ANNOTATION: retry} if retry else {})
    deletion = changes.pop("deletion", None)
    completion = changes.pop("completion", "then")
    metadata = ObjectMeta(
        namespace="team-a", name="one", uid=UID, annotations=annotations, deletion_timestamp=deletion, generation=1
    )
    status = AIJobStatus(
        phase=phase,
        reason=f"Because{phase}",
        attempt=attempt,
        attempts=records,
        observed_generation=1,
        completion_time=str(completion) if phase in ENDED else None,
    )
    return AIJob(metadata=metadata, spec=AIJobSpec(job_type=JobType.TRAINING, **changes), status=status)


def make_row(phase: JobPhase, **changes: object) -> Reflection:
    row = Reflection(
        id=ID, namespace="team-a", name="one", phase=phase, version=5, object_uid=UID, queued_at=NOW, priority=50
    )
    return replace(row, **changes)


@dataclass
class World:
    """What Postgres, the API server and the controller of AIJobs would do with the steps."""

    row: Reflection
    seen: Seen
    attempts: int = 0

    def take(self, step: object) -> None:
        match step:
            case Claim(target, holder, _):
                assert self.row.phase is JobPhase.QUEUED and target in STARTED
                self._change(phase=target, attempt=self.row.attempt + 1, holder=holder)
            case Shift():
                self._shift(step)
            case Adopt(uid, is_ours):
                assert self.row.object_uid is None
                self.row = replace(self.row, object_uid=uid, wishes=self.row.wishes | (3 if is_ours else 0))
            case Carried():
                self.row = replace(self.row, wishes=0)
            case Tell(reason, message):
                self.row = replace(self.row, reason=reason, message=message)
            case Carry():
                self._carry(step)
            case Delete():
                self.seen = Seen(self.seen.job, is_gone=True)
            case _:
                raise AssertionError(step)

    def react(self) -> bool:
        """The controller of AIJobs does what the spec asks for; whether there was anything to do."""
        job = self.seen.job
        if job is None or self.seen.is_gone:
            return False
        if job.metadata.deletion_timestamp is not None:
            self.seen = Seen(job, is_gone=True)
            return True
        meant = phase_meant(job)
        if meant is job.status.phase:
            return False
        retried = job.metadata.annotations.get(RETRY_ANNOTATION, "")
        status = replace(job.status, phase=meant, reason="Reacted", observed_retry=retried, completion_time=None)
        self.seen = Seen(replace(job, status=status))
        return True

    def _shift(self, shift: Shift) -> None:
        change = Change(job_id=ID, target=shift.target, is_gone=shift.is_gone)
        assert self.row.phase in change.as_row().sources, (self.row.phase, shift)
        assert not self.row.is_gone
        self._change(
            phase=shift.target or self.row.phase,
            priority=self.row.priority if shift.priority is None else shift.priority,
            is_gone=shift.is_gone,
            wishes=0 if shift.is_gone else self.row.wishes,
        )

    def _carry(self, carry: Carry) -> None:
        job = self.seen.job
        assert job is not None and job.metadata.deletion_timestamp is None
        spec = job.spec
        if carry.priority is not None:
            spec = replace(spec, priority=carry.priority)
        if carry.suspend is not None:
            spec = replace(spec, suspend=carry.suspend)
        metadata = job.metadata
        if carry.retry is not None:
            metadata = replace(metadata, annotations={**metadata.annotations, RETRY_ANNOTATION: carry.retry})
        assert (spec, metadata) != (job.spec, job.metadata)
        self.seen = Seen(replace(job, spec=spec, metadata=metadata))

    def _change(self, **fields: object) -> None:
        before = self.row
        self.row = replace(before, version=before.version + 1, **fields)
        assert before.phase is not JobPhase.CANCELLED or self.row.phase is JobPhase.CANCELLED


def run(row: Reflection, seen: Seen) -> World:
    """Until neither side moves any more."""
    world = World(row, seen)
    for _ in range(MOST_STEPS):
        step = next_step(world.row, world.seen)
        if step is not None:
            world.take(step)
        elif not world.react():
            return world
    raise AssertionError(f"no end: {world.row} {world.seen}")


def phases() -> st.SearchStrategy[JobPhase]:
    return st.sampled_from(JobPhase)


@st.composite
def rows(draw: st.DrawFn) -> Reflection:
    phase = draw(phases())
    attempt = draw(st.integers(0, 3))
    known = draw(st.booleans()) or phase in STARTED
    holder = f"kubernetes/{UID}/{draw(st.integers(1, 3))}" if attempt or phase in STARTED else ""
    return make_row(
        phase,
        attempt=max(attempt, 1) if phase in STARTED else attempt,
        holder=holder,
        object_uid=UID if known else None,
        wishes=draw(st.integers(0, 7)) if known else 0,
        priority=draw(st.sampled_from([10, 50, 90])),
    )


@st.composite
def jobs(draw: st.DrawFn) -> AIJob:
    phase = draw(phases())
    needs = phase in STARTED or phase in (JobPhase.SUCCEEDED, JobPhase.RETRYING, JobPhase.DEAD_LETTER)
    return make_job(
        phase,
        attempt=draw(st.integers(1 if needs else 0, 3)),
        retry=draw(st.sampled_from(["", "again"])),
        suspend=draw(st.booleans()),
        priority=draw(st.sampled_from([None, 10, 90])),
        deletion=draw(st.sampled_from([None, None, "now"])),
        completion=draw(st.sampled_from(["then", "later"])),
    )


@settings(max_examples=600, deadline=None)
@given(rows(), jobs(), st.booleans())
def test_every_pair_comes_to_agree_by_legal_moves(row: Reflection, job: AIJob, is_gone: bool) -> None:
    end = run(row, Seen(job, is_gone))
    if end.seen.is_gone:
        assert end.row.is_gone and end.row.phase in ENDED
        return
    assert end.seen.job is not None
    meant = phase_meant(end.seen.job)
    is_ahead = end.row.phase is JobPhase.SUCCEEDED or (
        meant is JobPhase.RETRYING and end.row.holder == holder_of(end.seen.job)
    )
    assert end.row.phase is meant or is_ahead, (end.row.phase, meant)
    assert end.row.wishes == 0


@given(rows())
def test_a_row_whose_object_is_gone_ends(row: Reflection) -> None:
    end = run(row, Seen(None))
    assert end.row.is_gone == (row.object_uid is not None)
    assert not end.row.is_gone or end.row.phase in ENDED


@given(jobs(), st.integers(0, 7))
def test_what_is_cancelled_stays_so_and_its_object_goes(job: AIJob, wishes: int) -> None:
    end = run(make_row(JobPhase.CANCELLED, wishes=wishes), Seen(job))
    assert end.row.phase is JobPhase.CANCELLED
    assert end.seen.is_gone or (end.seen.job is not None and end.seen.job.status.phase is JobPhase.CANCELLED)


@pytest.mark.parametrize("phase", sorted(ENDS))
def test_an_end_that_was_seen_at_once_is_told_with_its_attempt(phase: JobPhase) -> None:
    end = run(make_row(JobPhase.QUEUED), Seen(make_job(phase, attempt=1)))
    assert (end.row.phase, end.row.attempt, end.row.holder) == (phase, 1, f"kubernetes/{UID}/1")


def test_an_attempt_that_was_begun_anew_unseen_is_closed_first() -> None:
    row = make_row(JobPhase.RUNNING, attempt=1, holder=f"kubernetes/{UID}/1")
    job = make_job(JobPhase.RUNNING, attempt=2)
    step = next_step(row, Seen(job))
    assert isinstance(step, Shift)
    assert (step.target, step.failure, step.exit_code) == (JobPhase.QUEUED, FailureClass.EXIT_CODE, 1)
    assert run(row, Seen(job)).row.attempt == 2


def test_a_failure_without_an_attempt_claims_none() -> None:
    end = run(make_row(JobPhase.QUEUED), Seen(make_job(JobPhase.FAILED)))
    assert (end.row.phase, end.row.attempt) == (JobPhase.FAILED, 0)


def test_a_wish_is_carried_before_anything_is_heard() -> None:
    held = make_row(JobPhase.HELD, wishes=2)
    assert next_step(held, Seen(make_job(JobPhase.RUNNING, attempt=1))) == Carry(suspend=True)
    retried = make_row(JobPhase.QUEUED, wishes=6)
    step = next_step(retried, Seen(make_job(JobPhase.DEAD_LETTER, attempt=1)))
    assert isinstance(step, Carry) and step.retry == "2026-01-01T00:00:00.000000Z"
    end = run(retried, Seen(make_job(JobPhase.DEAD_LETTER, attempt=1)))
    assert end.row.phase is JobPhase.QUEUED and end.row.wishes == 0


def test_without_a_wish_kubectl_is_right() -> None:
    assert run(make_row(JobPhase.HELD), Seen(make_job(JobPhase.HELD, suspend=False))).row.phase is JobPhase.QUEUED
    assert run(make_row(JobPhase.QUEUED), Seen(make_job(JobPhase.QUEUED, suspend=True))).row.phase is JobPhase.HELD
    assert run(make_row(JobPhase.QUEUED), Seen(make_job(JobPhase.QUEUED, priority=90))).row.priority == 90


def test_an_answer_of_yesterday_is_not_taken_for_a_change_of_mind() -> None:
    """The hold was carried; the AIJob says so in its spec, and its status will follow."""
    row = make_row(JobPhase.HELD)
    assert next_step(row, Seen(make_job(JobPhase.RUNNING, attempt=1, suspend=True))) is None


def test_a_retry_that_is_being_looked_at_is_not_undone() -> None:
    assert next_step(make_row(JobPhase.QUEUED), Seen(make_job(JobPhase.FAILED, retry="again"))) is None


def test_an_object_that_was_made_before_the_leader_died_is_adopted_and_told_what_changed_since() -> None:
    row = make_row(JobPhase.HELD, object_uid=None)
    end = run(row, Seen(make_job(JobPhase.QUEUED)))
    assert end.row.phase is JobPhase.HELD and end.row.object_uid == UID
    assert end.seen.job is not None and end.seen.job.spec.suspend


def test_deleting_what_had_ended_only_frees_the_name() -> None:
    end = run(make_row(JobPhase.SUCCEEDED), Seen(make_job(JobPhase.SUCCEEDED, attempt=1), is_gone=True))
    assert (end.row.phase, end.row.is_gone) == (JobPhase.SUCCEEDED, True)


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_an_object_that_was_made_once_more_goes(phase: JobPhase) -> None:
    """While it was on its way the first one was deleted, which ended the job."""
    row = make_row(phase, object_uid="the-first", is_gone=True)
    assert next_step(row, Seen(make_job(JobPhase.QUEUED))) == Delete(UID)
    assert next_step(row, Seen(make_job(JobPhase.QUEUED, deletion="now"))) is None
    assert next_step(row, Seen(make_job(JobPhase.QUEUED), is_gone=True)) is None
    assert run(make_row(JobPhase.QUEUED, object_uid="the-first"), Seen(make_job(JobPhase.QUEUED))).row.is_gone


def test_what_no_database_keeps_is_left_out_of_its_words() -> None:
    """As a process may write it when it ends."""
    job = make_job(JobPhase.FAILED, attempt=1)
    job = replace(job, status=replace(job.status, message="out of\0 luck"))
    row = make_row(JobPhase.RUNNING, attempt=1, holder=f"kubernetes/{UID}/1")
    step = next_step(row, Seen(job))
    assert isinstance(step, Shift) and step.message == "out of\ufffd luck"
    ended = replace(row, phase=JobPhase.FAILED, reason="BecauseFailed")
    assert next_step(ended, Seen(job)) == Tell("BecauseFailed", "out of\ufffd luck")
    assert next_step(replace(ended, message="out of\ufffd luck"), Seen(job)) is None


def test_deleting_what_runs_cancels_it() -> None:
    row = make_row(JobPhase.RUNNING, attempt=1, holder=f"kubernetes/{UID}/1")
    step = next_step(row, Seen(make_job(JobPhase.RUNNING, attempt=1), is_gone=True))
    assert step == Shift(JobPhase.CANCELLED, "Deleted", "its AIJob was deleted", failure="deleted", is_gone=True)


def test_an_end_that_came_before_the_deletion_is_told_first() -> None:
    row = make_row(JobPhase.RUNNING, attempt=1, holder=f"kubernetes/{UID}/1")
    end = run(row, Seen(make_job(JobPhase.SUCCEEDED, attempt=1), is_gone=True))
    assert (end.row.phase, end.row.is_gone) == (JobPhase.SUCCEEDED, True)
