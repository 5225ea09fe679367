"""What each operation does to a queue, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bones.redis_servers import RedisServer
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.scores import score_of
from muster_queue.index.values import Answer, Entry, Lease, Whereabouts

START = datetime(2026, 11, 1, tzinfo=UTC)
FAR = 3600.0
AT_ONCE = 0.001


def entry(job: str, priority: int = 50, seconds: float = 0.0, attempt: int = 1) -> Entry:
    return Entry(job, score_of(priority, START + timedelta(seconds=seconds)), attempt)


async def taken(index: QueueIndex, queue: QueueKey, most: int = 500, seconds: float = FAR) -> list[tuple[str, int]]:
    return [(job.job, job.attempt) for job in (await index.take(queue, most, seconds)).entries]


async def overdue(index: QueueIndex, queue: QueueKey) -> list[Lease]:
    """Waits for leases of a millisecond to end: the server's clock alone says when."""
    while not (told := await index.expire(queue, told_again_seconds=FAR)):
        pass
    return told


async def test_the_best_job_is_taken_first(index: QueueIndex, queue: QueueKey) -> None:
    jobs = [entry("late", 50, 2), entry("b", 50, 1), entry("a", 50, 1), entry("high", 80, 9), entry("low", 20)]
    assert await index.add(queue, jobs) == 5
    first = await index.take(queue, 2, FAR)
    assert [job.job for job in first.entries] == ["high", "a"]
    assert first.entries[0] == jobs[3]
    assert first.until is not None
    assert first.until > (await index.measure(queue)).now
    assert await taken(index, queue) == [("b", 1), ("late", 1), ("low", 1)]
    assert await taken(index, queue) == []
    assert await taken(index, queue, most=0) == []


async def test_adding_again_changes_nothing(index: QueueIndex, queue: QueueKey) -> None:
    assert await index.add(queue, [entry("a", 50), entry("a", 50)]) == 1
    assert await index.add(queue, [entry("a", 99), entry("b", 50, 1)]) == 1
    assert (await index.measure(queue)).head == entry("a", 50)
    assert await taken(index, queue, 1) == [("a", 1)]
    assert await index.add(queue, [entry("a", 50)]) == 0
    depth = await index.measure(queue)
    assert (depth.waiting, depth.leased) == (1, 1)


async def test_a_later_attempt_ends_the_lease_of_an_earlier_one(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a")])
    await taken(index, queue)
    assert await index.add(queue, [entry("a", attempt=2)]) == 1
    assert await index.add(queue, [entry("a", attempt=1)]) == 0
    assert await taken(index, queue) == [("a", 2)]
    late, right = Lease("a", 1), Lease("a", 2)
    assert await index.heartbeat(queue, [late, right], FAR) == [Answer.STALE, Answer.DONE]
    assert await index.acknowledge(queue, [late, right, right]) == [Answer.STALE, Answer.DONE, Answer.UNKNOWN]


async def test_one_batch_may_name_a_job_with_several_attempts(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a", attempt=3), entry("a", attempt=2), entry("a", attempt=3), entry("a")])
    assert await taken(index, queue) == [("a", 3)]


async def test_a_waiting_job_moves_with_its_priority(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a", 50), entry("b", 50, 1), entry("c", 50, 2)])
    await taken(index, queue, 1)
    moved = [entry("c", 90), entry("a", 90), entry("gone", 90)]
    assert await index.reprioritize(queue, moved) == [True, False, False]
    assert await taken(index, queue) == [("c", 1), ("b", 1)]


async def test_a_heartbeat_keeps_a_lease_and_silence_ends_it(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("kept"), entry("left", seconds=1)])
    await taken(index, queue, seconds=AT_ONCE)
    assert await index.heartbeat(queue, [Lease("kept"), Lease("unknown")], FAR) == [Answer.DONE, Answer.UNKNOWN]
    assert await index.heartbeat(queue, [Lease("kept")], AT_ONCE) == [Answer.DONE]
    assert await overdue(index, queue) == [Lease("left")]
    assert (await index.measure(queue)).leased == 2


async def test_an_ended_lease_is_told_again_until_somebody_deals_with_it(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a"), entry("b", seconds=1)])
    await taken(index, queue, seconds=AT_ONCE)
    while (await index.measure(queue)).overdue < 2:
        pass
    assert await index.expire(queue, 1, told_again_seconds=AT_ONCE) == [Lease("a")]
    seen = set()
    while seen != {"a", "b"}:
        seen |= {lease.job for lease in await index.expire(queue, told_again_seconds=AT_ONCE)}
    assert await index.give_back(queue, [entry("a", attempt=2)]) == [Answer.DONE]
    assert await index.acknowledge(queue, [Lease("b")]) == [Answer.DONE]
    assert await taken(index, queue) == [("a", 2)]


async def test_what_cannot_be_done_now_is_given_back_for_the_same_attempt(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a", attempt=2), entry("b", seconds=1)])
    await taken(index, queue, 1)
    back = [entry("a", attempt=1), entry("b"), entry("a", attempt=2), entry("a", attempt=2)]
    expected = [Answer.STALE, Answer.UNKNOWN, Answer.DONE, Answer.UNKNOWN]
    assert await index.give_back(queue, back) == expected
    assert await taken(index, queue) == [("a", 2), ("b", 1)]


async def test_withdrawn_jobs_are_gone_wherever_they_were(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("leased", attempt=4), entry("waits", seconds=1), entry("stays", seconds=2)])
    await taken(index, queue, 1)
    where = [Whereabouts.WAITING, Whereabouts.LEASED, Whereabouts.UNKNOWN]
    assert await index.withdraw(queue, ["waits", "leased", "never"]) == where
    assert await index.heartbeat(queue, [Lease("leased", 4)], FAR) == [Answer.UNKNOWN]
    assert await index.add(queue, [entry("leased", attempt=4)]) == 1
    assert await taken(index, queue) == [("leased", 4), ("stays", 1)]


async def test_a_waiting_job_that_is_done_is_forgotten_as_well(index: QueueIndex, queue: QueueKey) -> None:
    await index.add(queue, [entry("a", attempt=2)])
    assert await index.acknowledge(queue, [Lease("a", 1)]) == [Answer.STALE]
    assert await index.acknowledge(queue, [Lease("a", 2)]) == [Answer.DONE]
    assert await taken(index, queue) == []


async def test_a_queue_at_a_glance(index: QueueIndex, queue: QueueKey) -> None:
    empty = await index.measure(queue)
    assert (empty.waiting, empty.head, empty.head_age_seconds, empty.oldest_age_seconds) == (0, None, 0.0, 0.0)
    jobs = [entry("old", 0, 5), entry("middle", 50, 7), entry("head", 100, 9), entry("next", 100, 10)]
    await index.add(queue, jobs)
    depth = await index.measure(queue)
    assert (depth.waiting, depth.leased, depth.head) == (4, 0, jobs[2])
    assert depth.oldest == START + timedelta(seconds=5)
    assert depth.oldest_age_seconds - depth.head_age_seconds == pytest.approx(4.0)


async def test_batches_larger_than_a_call(index: QueueIndex, queue: QueueKey) -> None:
    jobs = [entry(f"job-{number:04}", seconds=number, attempt=1 + number % 2) for number in range(1234)]
    assert await index.add(queue, jobs) == 1234
    assert await index.reprioritize(queue, jobs) == [True] * 1234
    first = await index.take(queue, 10_000, FAR)
    assert list(first.entries) == jobs[:500]
    leases = [Lease(job.job, job.attempt) for job in first.entries]
    assert await index.heartbeat(queue, leases, FAR) == [Answer.DONE] * 500
    answers = await index.withdraw(queue, [job.job for job in jobs])
    assert answers == [Whereabouts.LEASED] * 500 + [Whereabouts.WAITING] * 734
    assert (await index.measure(queue)).waiting == 0
    assert await index.add(queue, []) == 0


async def test_nothing_is_left_of_a_queue_that_is_done(index: QueueIndex, queue: QueueKey, server: RedisServer) -> None:
    await index.add(queue, [entry("a", attempt=3), entry("b")])
    await index.acknowledge(queue, [Lease(*job) for job in await taken(index, queue)])
    assert server.ask("DBSIZE") == 0
