"""Whatever the store loses comes back from the truth, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from pydantic import SecretStr
from redis.exceptions import ResponseError

from bones.index_truth import WrittenTruth
from bones.redis_servers import RedisServer, any_binary
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.judgement import Doubt, Tolerance
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler, Rhythm
from muster_queue.index.values import Answer, Entry, Held, Lease

QUEUE = QueueKey("team", "gpu")
OTHER = QueueKey("team", "cpu")
FAR = 3600.0


@pytest.fixture
def truth() -> WrittenTruth:
    made = WrittenTruth(page=50)
    made.put(QUEUE, *(Entry(f"job-{number:04}", number, 1 + number % 3) for number in range(200)))
    made.put(QUEUE, *(Held(f"held-{number}", 2, FAR) for number in range(5)))
    made.put(OTHER, Entry("lonely", 1))
    return made


@pytest.fixture
def reconciler(calls: Calls, truth: WrittenTruth) -> Reconciler:
    return Reconciler(calls, truth)


async def assert_right(index: QueueIndex, truth: WrittenTruth) -> None:
    """Every waiting job comes out in order with its attempt, and nothing else."""
    for queue, jobs in truth.jobs.items():
        waiting = sorted((job for job in jobs.values() if isinstance(job, Entry)), key=lambda job: (job.score, job.job))
        depth = await index.measure(queue)
        assert (depth.waiting, depth.leased) == (len(waiting), len(jobs) - len(waiting))
        assert list((await index.take(queue, 500, FAR)).entries) == waiting
        leases = [Lease(job.job, job.attempt) for job in jobs.values()]
        assert await index.heartbeat(queue, leases, FAR) == [Answer.DONE] * len(leases)


async def test_an_empty_store_is_filled(reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth) -> None:
    assert await reconciler.glance() is Doubt.EMPTIED
    repairs = await reconciler.round()
    assert {(repair.queue, repair.doubt, repair.complete) for repair in repairs} == {
        (QUEUE, Doubt.EMPTIED, True),
        (OTHER, Doubt.EMPTIED, True),
    }
    assert [(repair.added, repair.restored) for repair in repairs] == [(200, 5), (1, 0)]
    assert await reconciler.glance() is None
    assert await reconciler.round() == []
    await assert_right(index, truth)


async def test_a_flush_is_noticed_and_mended(
    reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth, server: RedisServer
) -> None:
    await reconciler.round()
    server.ask("FLUSHALL")
    assert await reconciler.glance() is Doubt.EMPTIED
    assert all(repair.complete for repair in await reconciler.round())
    await assert_right(index, truth)


async def test_a_single_queue_that_is_gone_is_noticed(
    reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth, server: RedisServer
) -> None:
    await reconciler.round()
    server.ask("DEL", QUEUE.waiting, QUEUE.leases, QUEUE.attempts, QUEUE.marker)
    assert await reconciler.glance() is None
    [repair] = await reconciler.round()
    assert (repair.queue, repair.doubt, repair.complete) == (QUEUE, Doubt.EMPTIED, True)
    await assert_right(index, truth)


async def test_jobs_that_are_missing_are_noticed_by_their_number(
    calls: Calls, index: QueueIndex, truth: WrittenTruth, server: RedisServer
) -> None:
    reconciler = Reconciler(calls, truth, Tolerance(looks=2))
    await reconciler.round()
    server.ask("ZPOPMIN", QUEUE.waiting, 3)
    server.ask("ZREM", QUEUE.leases, "held-1")
    assert await reconciler.round() == []
    assert (reconciler.drifts()[QUEUE].waiting, reconciler.drifts()[QUEUE].leased) == (-3, -1)
    [repair] = await reconciler.round()
    assert (repair.doubt, repair.added, repair.restored) == (Doubt.DRIFTED, 3, 1)
    await assert_right(index, truth)


async def test_what_should_not_be_there_is_taken_out(calls: Calls, index: QueueIndex, truth: WrittenTruth) -> None:
    """As after a failover that lost the last removals, claims, retries and changes of priority."""
    reconciler = Reconciler(calls, truth, Tolerance(looks=1))
    await reconciler.round()
    await index.add(QUEUE, [Entry("cancelled", 3), Entry("done", -1)])
    await index.take(QUEUE, 1, FAR)
    truth.put(
        QUEUE, Held("job-0000", 1, FAR), Entry("job-0001", 9_999, 2), Entry("held-0", 77, 3), Entry("job-0002", 5, 4)
    )
    [repair] = await reconciler.round()
    assert (repair.removed, repair.corrected, repair.complete) == (2, 1, True)
    await assert_right(index, truth)


@pytest.mark.parametrize("spoil", ["flush", "restart empty"])
async def test_a_loss_during_a_rebuild_begins_it_anew(own_server: RedisServer, truth: WrittenTruth, spoil: str) -> None:
    def flush() -> None:
        truth.after_page = lambda: None
        if spoil == "flush":
            own_server.ask("FLUSHALL")
            return
        own_server.kill()
        own_server.forget()
        own_server.start()

    calls = Calls.to(IndexSettings(url=SecretStr(own_server.url), call_timeout=20))
    reconciler = Reconciler(calls, truth)
    truth.after_page = flush
    repairs = await reconciler.round()
    assert "lost data" in repairs[0].problem
    assert await reconciler.glance() is Doubt.EMPTIED
    assert all(repair.complete for repair in await reconciler.round())
    await assert_right(QueueIndex(calls), truth)
    await calls.close()


@pytest.mark.parametrize("forget", [True, False], ids=["without its data", "with its data"])
async def test_a_restart_is_noticed(own_server: RedisServer, truth: WrittenTruth, forget: bool) -> None:
    calls = Calls.to(IndexSettings(url=SecretStr(own_server.url), call_timeout=20))
    reconciler = Reconciler(calls, truth)
    own_server.ask("CONFIG", "SET", "appendfsync", "always")
    await reconciler.round()
    own_server.kill()
    if forget:
        own_server.forget()
    own_server.start()
    doubt = Doubt.EMPTIED if forget else Doubt.REPLACED
    assert await reconciler.glance() is doubt
    repairs = await reconciler.round()
    assert {(repair.doubt, repair.complete) for repair in repairs} == {(doubt, True)}
    assert await reconciler.glance() is None
    await assert_right(QueueIndex(calls), truth)
    await calls.close()


@pytest.fixture
def forgetful_server() -> Iterator[RedisServer]:
    with RedisServer(any_binary(), maxmemory_policy="allkeys-random") as server:
        yield server


async def test_eviction_is_noticed(forgetful_server: RedisServer, truth: WrittenTruth) -> None:
    calls = Calls.to(IndexSettings(url=SecretStr(forgetful_server.url), call_timeout=20))
    reconciler = Reconciler(calls, truth)
    await reconciler.round()
    before = forgetful_server.ask("DBSIZE")
    forgetful_server.ask("CONFIG", "SET", "maxmemory", "1")
    await asyncio.to_thread(evict_something, forgetful_server, before)
    forgetful_server.ask("CONFIG", "SET", "maxmemory", "0")
    repairs = await reconciler.round()
    assert {repair.doubt for repair in repairs} <= {Doubt.EVICTED, Doubt.EMPTIED}
    assert all(repair.complete for repair in repairs)
    assert await reconciler.glance() is None
    await assert_right(QueueIndex(calls), truth)
    await calls.close()


def evict_something(server: RedisServer, before: int) -> None:
    while server.ask("DBSIZE") >= before:
        try:
            server.ask("SET", "filler", "x")
        except ResponseError as error:
            assert "OOM" in str(error)


async def test_intake_and_dispatch_go_on_during_a_rebuild(
    reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth
) -> None:
    handed_out: list[str] = []
    is_over = asyncio.Event()
    going_on = asyncio.create_task(submit_and_take(index, truth, handed_out, is_over))
    await reconciler.round()
    # At the end of a step: of a call that is cancelled nobody knows what it has done.
    is_over.set()
    await going_on
    assert handed_out
    assert len(handed_out) == len(set(handed_out))
    left = {entry.job for entry in (await index.take(QUEUE, 500, FAR)).entries}
    assert left.isdisjoint(handed_out)
    assert left | set(handed_out) == {job.job for job in truth.jobs[QUEUE].values() if isinstance(job, Entry)}


async def submit_and_take(
    index: QueueIndex, truth: WrittenTruth, handed_out: list[str], is_over: asyncio.Event
) -> None:
    for number in range(2_000):
        if is_over.is_set():
            return
        entry = Entry(f"new-{number}", number)
        truth.put(QUEUE, entry)
        await index.add(QUEUE, [entry])
        handed_out += [job.job for job in (await index.take(QUEUE, 1, FAR)).entries]


async def test_two_reconcilers_leave_each_other_alone(calls: Calls, index: QueueIndex, truth: WrittenTruth) -> None:
    other = Reconciler(calls, truth)
    rounds = await asyncio.gather(Reconciler(calls, truth).round(), other.round())
    assert any(repair.complete for repairs in rounds for repair in repairs)
    problems = {repair.problem for repairs in rounds for repair in repairs if not repair.complete}
    assert problems <= {"somebody else rebuilds it"}
    while not all(repair.complete for repair in await other.round()):
        pass
    await assert_right(index, truth)


async def test_a_spoilt_queue_does_not_keep_others_from_being_repaired(
    reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth, server: RedisServer
) -> None:
    server.ask("SET", QUEUE.waiting, "nonsense")
    spoilt, right = await reconciler.round()
    assert "WRONGTYPE" in spoilt.problem
    assert right.complete
    assert await reconciler.glance() is Doubt.EMPTIED


async def test_it_looks_again_by_itself(
    reconciler: Reconciler, index: QueueIndex, truth: WrittenTruth, server: RedisServer
) -> None:
    running = asyncio.create_task(reconciler.run(Rhythm(glance_seconds=0.01, round_seconds=3600)))
    await comes_true(reconciler.glance, None)
    server.ask("FLUSHALL")
    await comes_true(reconciler.glance, None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await assert_right(index, truth)


async def comes_true(ask: Callable[[], Awaitable[object]], expected: object) -> None:
    while await ask() is not expected:
        pass
