"""What the leader does with the stores alone: wake, take back, relay, and tell the truth to the index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from bones.redis_servers import RedisServer, any_binary
from bones.storing import make_job, make_request, open_database
from muster_api.phases import JobPhase
from muster_queue.dispatch import relay as relaying
from muster_queue.dispatch import timekeeper
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.relay import Relay
from muster_queue.dispatch.timekeeper import Timekeeper
from muster_queue.dispatch.truth import PostgresTruth
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler
from muster_queue.index.values import Entry, Held
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.pooled import Pooled
from muster_queue.storage.records import Actor, Candidate, Change, Made, NewJob
from muster_queue.storage.reflections import Reflections
from muster_queue.storage.submissions import Submissions

ADA = Actor(name="ada", action="test")
QUEUE = QueueKey("team-a", "default")
LIMITED = msgspec.Raw(b'{"jobType":"inference","queueTimeoutSeconds":9,"timeoutSeconds":9}')


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (relaying, timekeeper):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
async def database(app_url: str) -> AsyncIterator[Database]:
    async with open_database(app_url) as opened:
        yield opened


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server


@pytest.fixture
async def calls(redis: RedisServer) -> AsyncIterator[Calls]:
    made = Calls.to(IndexSettings(url=redis.url))
    yield made
    await made.close()


@pytest.fixture
def times(database: Database) -> Timekeeper:
    metrics = DispatchMetrics(CollectorRegistry())
    return Timekeeper(Jobs(database), Attempts(database), Mover(database), Reflections(database), metrics)


async def store(database: Database, *jobs: NewJob) -> None:
    await Submissions(database).store([make_request(job) for job in jobs])


def pooled(**fields: Any) -> NewJob:
    return make_job(execution="pool", **fields)


async def claim(database: Database, job: NewJob, **fields: Any) -> None:
    given = {"holder": "worker", "actor": "pool", "lease_seconds": 60.0} | fields
    wake = given.pop("wake_seconds", None)
    assert await Attempts(database).claim([Candidate(id=job.id, wake_seconds=wake)], **given)


async def phase(database: Database, job: NewJob) -> JobPhase:
    return (await Jobs(database).get(job.id)).phase


async def test_what_waited_too_long_fails_and_what_paused_waits_again(database: Database, times: Timekeeper) -> None:
    late, paused, patient = pooled(wake_seconds=0.0), pooled(spec=LIMITED), pooled(wake_seconds=60.0)
    await store(database, late, paused, patient)
    await claim(database, paused)
    await Mover(database).move_one(Change(job_id=paused.id, target=JobPhase.RETRYING, wake_seconds=0.0), ADA)
    await times.wake()
    assert [await phase(database, job) for job in (late, paused, patient)] == [
        JobPhase.FAILED,
        JobPhase.QUEUED,
        JobPhase.QUEUED,
    ]
    again = await Jobs(database).get(paused.id)
    assert again.wake_at is not None and again.queued_at is not None


async def test_an_attempt_that_runs_too_long_is_ended(database: Database, times: Timekeeper) -> None:
    job = pooled(spec=msgspec.Raw(b'{"jobType":"inference","retryPolicy":{"maxRetries":0}}'))
    await store(database, job)
    await claim(database, job, wake_seconds=0.0)
    await times.wake()
    assert await phase(database, job) is JobPhase.DEAD_LETTER
    (attempt,) = await Jobs(database).attempts(job.id)
    assert attempt.failure == "timeout"


async def test_a_silent_worker_loses_its_job_once(database: Database, times: Timekeeper) -> None:
    silent, alive = pooled(), pooled()
    await store(database, silent, alive)
    await claim(database, silent, lease_seconds=-1.0)
    await claim(database, alive)
    await times.take_back()
    await times.take_back()
    assert [await phase(database, job) for job in (silent, alive)] == [JobPhase.QUEUED, JobPhase.RUNNING]
    (attempt,) = await Jobs(database).attempts(silent.id)
    assert (attempt.failure, attempt.outcome) == ("nodeLost", JobPhase.QUEUED)


async def test_what_has_ended_is_gone_once_it_was_kept_long_enough(database: Database, times: Timekeeper) -> None:
    brief = msgspec.Raw(b'{"jobType":"inference","ttlSecondsAfterFinished":0}')
    long = msgspec.Raw(b'{"jobType":"inference","ttlSecondsAfterFinished":60}')
    soon, cancelled, later, kept = (
        pooled(name=name, is_named=True, spec=spec)
        for name, spec in (("soon", brief), ("cancelled", brief), ("later", long), ("kept", LIMITED))
    )
    await store(database, soon, cancelled, later, kept)
    for job in (soon, later, kept):
        await claim(database, job)
        end = Change(job_id=job.id, attempt=1, holder="worker", target=JobPhase.SUCCEEDED)
        assert (await Attempts(database).acknowledge([end], "worker")).moved
    await Mover(database).move_one(Change(job_id=cancelled.id, target=JobPhase.CANCELLED), ADA)
    await times.wake()
    found = {name: await Jobs(database).named("team-a", name) for name in ("soon", "cancelled", "later", "kept")}
    assert {name for name, job in found.items() if job is None} == {"soon", "cancelled"}
    assert await phase(database, soon) is JobPhase.SUCCEEDED
    assert await Jobs(database).due() == []
    # Its name is free again.
    again = pooled(name="soon", is_named=True)
    assert not (await Submissions(database).store([make_request(again)])).missing


async def test_a_job_that_is_begun_anew_is_not_gone_by_its_old_end(database: Database, times: Timekeeper) -> None:
    job = pooled(spec=msgspec.Raw(b'{"jobType":"inference","ttlSecondsAfterFinished":0}'))
    await store(database, job)
    await claim(database, job)
    await Attempts(database).fail([Change(job_id=job.id, attempt=1, target=JobPhase.FAILED, failure="exitCode")], "w")
    await Mover(database).move_one(Change(job_id=job.id, target=JobPhase.QUEUED, retries=0), ADA)
    await times.wake()
    assert await phase(database, job) is JobPhase.QUEUED
    assert (await Jobs(database).get(job.id)).gone_at is None


async def test_jobs_with_an_aijob_are_left_to_it(database: Database, times: Timekeeper) -> None:
    job = make_job(wake_seconds=0.0)
    await store(database, job)
    await Reflections(database).mark_made([Made(id=job.id, uid="u")])
    await Mover(database).move_one(Change(job_id=job.id, target=JobPhase.HELD, wake_seconds=0.0), ADA)
    await times.wake()
    assert await phase(database, job) is JobPhase.HELD
    assert await Jobs(database).due() == []


async def test_wishes_are_marked_where_there_is_an_aijob_and_only_by_others(database: Database) -> None:
    reflections, mover = Reflections(database), Mover(database)
    known, unknown = make_job(), make_job()
    await store(database, known, unknown)
    await reflections.mark_made([Made(id=known.id, uid="u", is_ours=False)])
    await mover.move([Change(job_id=job.id, target=JobPhase.HELD, priority=90) for job in (known, unknown)], ADA)
    (wished,) = await reflections.wished()
    assert (wished.id, wished.wishes) == (known.id, 3)
    await mover.move_one(Change(job_id=known.id, target=JobPhase.QUEUED, is_mirror=True), ADA)
    assert await reflections.mark_carried([wished]) == set()
    (wished,) = await reflections.wished()
    assert await reflections.mark_carried([wished]) == {known.id}
    assert await reflections.wished() == []


async def test_candidates_are_the_best_of_each_queue(database: Database) -> None:
    low, high, other, held = (
        make_job(priority=10),
        make_job(priority=90),
        make_job(queue="b"),
        make_job(phase=JobPhase.HELD),
    )
    imported = make_job(priority=99, object_uid="u")
    await store(database, low, high, other, held, imported, pooled())
    found = await Reflections(database).candidates(1)
    assert {one.id for one in found} == {high.id, other.id}
    await Reflections(database).mark_made([Made(id=high.id, uid="u")])
    assert {one.id for one in await Reflections(database).candidates(1)} == {low.id, other.id}


async def test_the_heads_are_what_goes_next_in_each_queue(database: Database) -> None:
    pods, pools = [make_job(priority=each) for each in (10, 90)], [pooled(priority=each) for each in (20, 95, 30)]
    running, elsewhere = pools[1], pooled(queue="b", priority=1)
    await store(database, *pods, *pools, elsewhere, make_job(priority=99, object_uid="u"))
    await claim(database, running)
    heads = await Reflections(database).heads()
    assert {one.id for one in heads} == {pods[1].id, pools[2].id, elsewhere.id}


async def test_the_relay_tells_the_index_what_is_true_now(database: Database, calls: Calls) -> None:
    index, outbox = QueueIndex(calls), Outbox(database)
    waits, cancelled, pod = pooled(priority=10), pooled(), make_job()
    await store(database, waits, cancelled, pod)
    relay = Relay(outbox, Jobs(database), index)
    await tell(relay, outbox)
    assert (await index.measure(QUEUE)).waiting == 2
    await Mover(database).move_one(Change(job_id=cancelled.id, target=JobPhase.CANCELLED), ADA)
    await Mover(database).move_one(Change(job_id=waits.id, priority=99), ADA)
    await tell(relay, outbox)
    taken = await index.take(QUEUE, 10, 60)
    assert [entry.job for entry in taken.entries] == [str(waits.id)]
    assert taken.entries[0].score < 2 << 46
    assert (await outbox.depth())[0] == 0


async def tell(relay: Relay, outbox: Outbox) -> None:
    rows = await outbox.pending(older_than_seconds=0.0)
    await relay._tell(rows)
    await outbox.settle([row.id for row in rows])


async def test_without_an_index_the_outbox_is_emptied(database: Database) -> None:
    await store(database, pooled())
    outbox = Outbox(database)
    await tell(Relay(outbox, Jobs(database), None), outbox)
    assert await outbox.pending(older_than_seconds=0.0) == []


async def test_the_truth_is_all_jobs_of_pools_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster_queue.dispatch.truth.PAGE", 3)
    jobs = [pooled(priority=10 * (number % 3)) for number in range(10)]
    leased, other = jobs[4], pooled(queue="b")
    await store(database, *jobs, other, make_job())
    await claim(database, leased)
    truth = PostgresTruth(Jobs(database), Pooled(database))
    tallies = {tally.queue: (tally.waiting, tally.leased) async for tally in truth.queues()}
    assert tallies == {QUEUE: (9, 1), QueueKey("team-a", "b"): (1, 0)}
    told = [one for page in [page async for page in truth.pages(QUEUE)] for one in page]
    assert sorted(one.job for one in told) == sorted(str(job.id) for job in jobs)
    assert [one.job for one in told if isinstance(one, Held)] == [str(leased.id)]
    among = await truth.among(QUEUE, [str(leased.id), str(other.id), str(jobs[0].id), "nobody's"])
    assert {job: type(one) for job, one in among.items()} == {str(leased.id): Held, str(jobs[0].id): Entry}


async def test_an_emptied_index_is_filled_from_postgres(database: Database, calls: Calls, redis: RedisServer) -> None:
    jobs = [pooled() for _ in range(20)]
    await store(database, *jobs)
    reconciler = Reconciler(calls, PostgresTruth(Jobs(database), Pooled(database)))
    await reconciler.round()
    redis.ask("FLUSHALL")
    await reconciler.round()
    depth = await QueueIndex(calls).measure(QUEUE)
    assert depth.waiting == 20
