"""Changes go through only where they hold, and leave their traces in the same commit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from bones.storing import make_job, make_request
from muster_api.phases import JobPhase
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.errors import IllegalTransition, NotFound, Stale
from muster_queue.storage.housekeeping import Housekeeping
from muster_queue.storage.identifiers import JobIds
from muster_queue.storage.jobs import BacklogPlace, Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.records import Actor, Beat, Candidate, Change, NewJob
from muster_queue.storage.submissions import Submissions
from muster_queue.storage.usage import Usage

ADA = Actor(name="ada", action="hold")


@pytest.fixture
async def job(submissions: Submissions) -> NewJob:
    stored = make_job()
    await submissions.store([make_request(stored)])
    return stored


async def claim(attempts: Attempts, *jobs: NewJob, holder: str = "worker-1", lease: float = 30.0) -> None:
    candidates = [Candidate(id=job.id, gpus=2) for job in jobs]
    claimed = await attempts.claim(candidates, holder=holder, actor="pool", lease_seconds=lease)
    assert {one.id for one in claimed} == {job.id for job in jobs}


async def test_a_change_leaves_event_audit_and_outbox(
    database: Database, mover: Mover, jobs: Jobs, job: NewJob
) -> None:
    moved = await mover.move_one(Change(job_id=job.id, target=JobPhase.HELD, message="later"), ADA)
    assert (moved.source, moved.target, moved.version) == (JobPhase.QUEUED, JobPhase.HELD, 2)
    submitted, held = await jobs.history(job.id)
    assert (submitted.source, submitted.target, submitted.actor) == (None, JobPhase.QUEUED, "ada")
    assert (held.source, held.target, held.message, held.version) == (JobPhase.QUEUED, JobPhase.HELD, "later", 2)
    audit = await database.read(
        b"select action, source, target, job_ids from muster.audit order by id desc limit 1", {}
    )
    assert audit == [("hold", "Queued", "Held", [job.id])]
    assert len(await Outbox(database).pending(older_than_seconds=0)) == 2


async def test_the_version_that_was_seen_must_be_the_present_one(mover: Mover, job: NewJob) -> None:
    await mover.move_one(Change(job_id=job.id, priority=80, version=1), ADA)
    with pytest.raises(Stale) as stale:
        await mover.move_one(Change(job_id=job.id, priority=90, version=1), ADA)
    assert stale.value.version == 2


async def test_what_the_table_does_not_allow_is_refused(mover: Mover, job: NewJob) -> None:
    await mover.move_one(Change(job_id=job.id, target=JobPhase.CANCELLED), ADA)
    with pytest.raises(IllegalTransition):
        await mover.move_one(Change(job_id=job.id, target=JobPhase.QUEUED), ADA)
    with pytest.raises(NotFound):
        await mover.move_one(Change(job_id=JobIds().make(), target=JobPhase.QUEUED), ADA)


async def test_one_bad_change_stops_no_other(mover: Mover, submissions: Submissions, job: NewJob) -> None:
    other = make_job()
    await submissions.store([make_request(other)])
    changes = [Change(job_id=job.id, target=JobPhase.SUCCEEDED), Change(job_id=other.id, target=JobPhase.HELD)]
    outcome = await mover.move(changes, ADA)
    assert set(outcome.moved) == {other.id}
    assert isinstance(outcome.refused[job.id], IllegalTransition)


async def test_of_many_claims_at_once_one_wins(attempts: Attempts, jobs: Jobs, job: NewJob) -> None:
    claims = (
        attempts.claim([Candidate(id=job.id)], holder=f"worker-{number}", actor="pool", lease_seconds=30)
        for number in range(8)
    )
    winners = [claimed for claimed in await asyncio.gather(*claims) if claimed]
    assert len(winners) == 1 and winners[0][0].attempt == 1
    assert bytes(winners[0][0].spec) == bytes(job.spec)
    stored = await jobs.get(job.id)
    assert (stored.phase, stored.attempt, stored.version) == (JobPhase.RUNNING, 1, 2)
    (attempt,) = await jobs.attempts(job.id)
    assert await attempts.held_by(attempt.holder) == [attempt]
    assert await attempts.held_by(attempt.holder, after=attempt) == [] == await attempts.held_by("another")


async def test_a_cancelled_job_is_not_claimed_and_a_claim_of_an_old_attempt_neither(
    attempts: Attempts, mover: Mover, submissions: Submissions, job: NewJob
) -> None:
    other = make_job()
    await submissions.store([make_request(other)])
    await mover.move_one(Change(job_id=job.id, target=JobPhase.CANCELLED), ADA)
    candidates = [Candidate(id=job.id), Candidate(id=other.id, attempt=2)]
    assert await attempts.claim(candidates, holder="w", actor="pool", lease_seconds=30) == []


async def test_an_acknowledged_attempt_ends_the_job_with_its_result(
    database: Database, attempts: Attempts, jobs: Jobs, job: NewJob
) -> None:
    await claim(attempts, job)
    done = Change(job_id=job.id, attempt=1, holder="worker-1", result=msgspec.Raw(b'{"label":"cat"}'))
    outcome = await attempts.acknowledge([done], "pool")
    assert outcome.moved[job.id].target is JobPhase.SUCCEEDED
    (attempt,) = await jobs.attempts(job.id)
    assert bytes(attempt.result) == b'{"label":"cat"}' and attempt.outcome is JobPhase.SUCCEEDED
    (used,) = await Usage(database).of_job(job.id)
    assert used.gpus == 2 and used.gpu_seconds > 0
    assert [event.target for event in await jobs.history(job.id)] == [
        JobPhase.QUEUED,
        JobPhase.RUNNING,
        JobPhase.SUCCEEDED,
    ]


async def test_a_late_acknowledgement_is_refused(attempts: Attempts, mover: Mover, jobs: Jobs, job: NewJob) -> None:
    await claim(attempts, job)
    retry = Change(job_id=job.id, attempt=1, target=JobPhase.RETRYING, retries=1, wake_seconds=0, failure="exitCode")
    assert job.id in (await attempts.fail([retry], "pool")).moved
    (due,) = await jobs.due()
    await mover.move_one(Change(job_id=due.id, target=JobPhase.QUEUED), ADA)
    await claim(attempts, job, holder="worker-2")
    late = Change(job_id=job.id, attempt=1, holder="worker-1")
    assert isinstance((await attempts.acknowledge([late], "pool")).refused[job.id], Stale)
    stranger = Change(job_id=job.id, attempt=2, holder="worker-1")
    assert isinstance((await attempts.acknowledge([stranger], "pool")).refused[job.id], Stale)
    stored = await jobs.get(job.id)
    assert (stored.phase, stored.attempt, stored.retries) == (JobPhase.RUNNING, 2, 1)


async def test_a_heartbeat_keeps_a_lease_and_silence_ends_it(attempts: Attempts, jobs: Jobs, job: NewJob) -> None:
    await claim(attempts, job, lease=0.0)
    (expired,) = await attempts.expired()
    assert (expired.job_id, expired.attempt, expired.holder) == (job.id, 1, "worker-1")
    assert await attempts.heartbeat([Beat(id=job.id, attempt=1)], holder="worker-2", lease_seconds=30) == set()
    beat = Beat(id=job.id, attempt=1, progress=0.5)
    assert await attempts.heartbeat([beat], holder="worker-1", lease_seconds=30) == {(job.id, 1)}
    lost = Change(job_id=job.id, attempt=1, target=JobPhase.QUEUED, failure="nodeLost")
    assert job.id in (await attempts.expire([lost], "leader")).refused
    assert (await jobs.get(job.id)).phase is JobPhase.RUNNING
    await attempts.heartbeat([beat], holder="worker-1", lease_seconds=0)
    assert job.id in (await attempts.expire([lost], "leader")).moved
    assert await attempts.heartbeat([beat], holder="worker-1", lease_seconds=30) == set()


async def test_cancelling_a_running_job_closes_its_attempt(
    attempts: Attempts, mover: Mover, jobs: Jobs, job: NewJob
) -> None:
    await claim(attempts, job)
    await mover.move_one(Change(job_id=job.id, target=JobPhase.CANCELLED), Actor(name="ada", action="cancel"))
    (attempt,) = await jobs.attempts(job.id)
    assert attempt.ended_at is not None and attempt.outcome is JobPhase.CANCELLED


async def test_cancel_and_claim_at_once_never_both_hold(
    attempts: Attempts, mover: Mover, jobs: Jobs, submissions: Submissions
) -> None:
    many = [make_job() for _ in range(40)]
    await submissions.store([make_request(job) for job in many])

    async def cancel(job: NewJob) -> None:
        await mover.move([Change(job_id=job.id, target=JobPhase.CANCELLED)], ADA)

    async def take(job: NewJob) -> None:
        await attempts.claim([Candidate(id=job.id)], holder="w", actor="pool", lease_seconds=30)

    await asyncio.gather(*(step(job) for job in many for step in (cancel, take)))
    for job in many:
        stored = await jobs.get(job.id)
        assert stored.phase is JobPhase.CANCELLED
        assert all(attempt.ended_at is not None for attempt in await jobs.attempts(job.id))


async def test_a_gone_job_frees_its_name_and_is_forgotten_in_the_end(
    database: Database, mover: Mover, jobs: Jobs, submissions: Submissions
) -> None:
    first, second = make_job("resnet", labels={"team": "vision"}), make_job("resnet")
    await submissions.store([make_request(first)])
    leader = Actor(name="leader", action="delete")
    with pytest.raises(IllegalTransition):
        await mover.move_one(Change(job_id=first.id, is_gone=True), leader)
    await mover.move_one(Change(job_id=first.id, target=JobPhase.CANCELLED, is_gone=True), leader)
    assert not (await submissions.store([make_request(second)])).missing
    assert (await jobs.named("team-a", "resnet")) == await jobs.get(second.id)
    assert await Housekeeping(database).forget_jobs(datetime.now(UTC) + timedelta(hours=1)) == 1
    with pytest.raises(NotFound):
        await jobs.get(first.id)


async def test_the_backlog_is_every_queued_job_once(
    attempts: Attempts, mover: Mover, jobs: Jobs, submissions: Submissions
) -> None:
    many = [make_job(namespace=f"team-{n % 3}", queue=f"q{n % 2}") for n in range(30)]
    await submissions.store([make_request(job) for job in many])
    await claim(attempts, *many[:5])
    await mover.move_one(Change(job_id=many[5].id, target=JobPhase.HELD), ADA)
    place: BacklogPlace | None = BacklogPlace()
    found = []
    while place is not None:
        page, place = await jobs.backlog(place, most=7)
        found += [standing.id for standing in page]
    assert sorted(found) == [job.id for job in many[6:]]


async def test_an_outbox_row_is_there_until_it_is_settled(database: Database, job: NewJob) -> None:
    outbox = Outbox(database)
    assert await outbox.pending(older_than_seconds=3600) == []
    (row,) = await outbox.pending(older_than_seconds=0)
    assert row.job_ids == (job.id,)
    assert await outbox.settle([row.id]) == 1
    assert await outbox.pending(older_than_seconds=0) == []


async def test_events_find_their_month_and_old_months_go(
    database: Database, database_url: str, mover: Mover, jobs: Jobs, job: NewJob
) -> None:
    housekeeping = Housekeeping(database)
    assert await housekeeping.prepare_events(2) == 0
    this_month = datetime.now(UTC).strftime("events_%Y_%m")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"drop table muster.{this_month}".encode())
    await mover.move_one(Change(job_id=job.id, target=JobPhase.HELD), ADA)
    assert await housekeeping.prepare_events(2) == 1
    assert [event.target for event in await jobs.history(job.id)] == [JobPhase.QUEUED, JobPhase.HELD]
    assert await housekeeping.drop_events(datetime.now(UTC)) == 0
    assert await housekeeping.drop_events(datetime.now(UTC) + timedelta(days=31)) == 1


async def test_runtimes_are_learnt_from_attempts_that_succeeded(
    database: Database, attempts: Attempts, job: NewJob
) -> None:
    await claim(attempts, job)
    await attempts.acknowledge([Change(job_id=job.id, attempt=1)], "pool")
    usage = Usage(database)
    assert await usage.learn(datetime.now(UTC) - timedelta(hours=1)) == 1
    (runtime,) = await usage.runtimes(["team-a"])
    assert (runtime.queue, runtime.job_type, runtime.samples) == ("default", "inference", 1)
