"""The index on a real server of its own, durable as in production: each operation, and filling it after a loss.

The rebuild takes a million jobs from a synthetic source, so that its figure is what the index costs by itself. The same
process goes on adding and taking at a steady rate, on schedule whether or not earlier calls are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from redis import Redis

from machine import cpu_seconds, describe
from muster_local.stores.standalone import StandaloneStores
from muster_queue.index.buckets import Rate, TenantBuckets
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler
from muster_queue.index.scores import score_of
from muster_queue.index.truth import Tally
from muster_queue.index.values import Entry, Held, Lease

START = datetime(2026, 11, 1, tzinfo=UTC)
BACKLOG = QueueKey("team", "backlog")
LIVE = QueueKey("team", "live")
GOAL_SECONDS = 60.0
PAGE = 500
BATCH = 100
LEASE_SECONDS = 60.0
INTAKE_PER_SECOND = 100
CALL_TIMEOUT = 10.0


def job(number: int) -> Entry:
    """As ids of jobs are: 36 characters."""
    return Entry(
        f"01900000-0000-7000-8000-{number:012x}", score_of(number % 101, START + timedelta(milliseconds=number))
    )


class SyntheticTruth:
    """A backlog that costs nothing to read."""

    def __init__(self, count: int) -> None:
        self._pages = [[job(number) for number in range(first, first + PAGE)] for first in range(0, count, PAGE)]
        self._count = count
        self._jobs: dict[str, Entry | Held] = {entry.job: entry for page in self._pages for entry in page}

    async def queues(self) -> AsyncIterator[Tally]:
        yield Tally(BACKLOG, self._count)

    async def pages(self, queue: QueueKey) -> AsyncIterator[Sequence[Entry | Held]]:
        for page in self._pages:
            yield page

    async def among(self, queue: QueueKey, jobs: Sequence[str]) -> Mapping[str, Entry | Held]:
        return {name: self._jobs[name] for name in jobs if name in self._jobs}


async def timed(title: str, jobs: int, pid: int, work: Callable[[], Awaitable[object]]) -> None:
    """Prints the rate, and what each job costs the client and the server."""
    started = time.perf_counter(), time.process_time(), cpu_seconds(pid)
    await work()
    wall = time.perf_counter() - started[0]
    client, server = time.process_time() - started[1], cpu_seconds(pid) - started[2]
    costs = f"client {client / jobs * 1e6:5.1f} us, server {server / jobs * 1e6:5.1f} us a job"
    print(f"{title:44} {jobs / wall:9,.0f} jobs/s   {costs}")


async def operations(index: QueueIndex, calls: Calls, pid: int, count: int) -> None:
    """Each operation in batches of a hundred, one call after the other."""
    batches = [[job(number) for number in range(first, first + BATCH)] for first in range(0, count, BATCH)]
    taken: list[list[Lease]] = []

    async def each(call: Callable[[list[Entry]], Awaitable[object]]) -> None:
        for batch in batches:
            await call(batch)

    async def take(batch: list[Entry]) -> None:
        entries = (await index.take(LIVE, len(batch), LEASE_SECONDS)).entries
        taken.append([Lease(entry.job, entry.attempt) for entry in entries])

    async def each_taken(call: Callable[[list[Lease]], Awaitable[object]]) -> None:
        for leases in taken:
            await call(leases)

    await timed("add, 100 a call", count, pid, lambda: each(lambda batch: index.add(LIVE, batch)))
    await timed("reprioritize, 100 a call", count, pid, lambda: each(lambda batch: index.reprioritize(LIVE, batch)))
    await timed("take, 100 a call", count, pid, lambda: each(take))
    await timed(
        "heartbeat, 100 a call", count, pid, lambda: each_taken(lambda some: index.heartbeat(LIVE, some, LEASE_SECONDS))
    )
    await timed("acknowledge, 100 a call", count, pid, lambda: each_taken(lambda some: index.acknowledge(LIVE, some)))
    few = batches[: max(1, len(batches) // 20)]
    singles = [entry for batch in few for entry in batch]

    async def one_by_one() -> None:
        for entry in singles:
            await index.add(LIVE, [entry])

    buckets = TenantBuckets(calls)

    async def charges() -> None:
        for _ in singles:
            await buckets.charge("team", "submit", Rate(1e6, 1000))

    await timed("add, 1 a call", len(singles), pid, one_by_one)
    await timed("token bucket, 1 a call", len(singles), pid, charges)
    await index.withdraw(LIVE, [entry.job for entry in singles])


class Intake:
    """Adds and takes a job on schedule, and remembers how long both took together."""

    def __init__(self, index: QueueIndex) -> None:
        self._index = index
        self.milliseconds: list[float] = []
        self.failures = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            due = time.perf_counter()
            for number in range(10**9):
                due += 1 / INTAKE_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self._once(number, due))

    async def _once(self, number: int, due: float) -> None:
        await self._index.add(LIVE, [job(number)])
        taken = (await self._index.take(LIVE, 1, LEASE_SECONDS)).entries
        self.failures += len(taken) != 1
        self.milliseconds.append((time.perf_counter() - due) * 1000)

    def figures(self) -> str:
        if len(self.milliseconds) < 2:
            return "no intake"
        cuts = statistics.quantiles(self.milliseconds, n=100)
        return (
            f"P50 {cuts[49]:.1f} ms, P99 {cuts[98]:.1f} ms of {len(self.milliseconds)}, {self.failures} found nothing"
        )


async def rebuild(calls: Calls, count: int, pid: int) -> float:
    """Seconds from an emptied store to a complete index, beside intake."""
    index = QueueIndex(calls)
    reconciler = Reconciler(calls, SyntheticTruth(count))
    intake = Intake(index)
    going_on = asyncio.create_task(intake.run())
    started, client, server = time.perf_counter(), time.process_time(), cpu_seconds(pid)
    [repair] = await reconciler.round()
    seconds = time.perf_counter() - started
    going_on.cancel()
    await asyncio.gather(going_on, return_exceptions=True)
    assert repair.complete, repair.problem
    assert repair.added == count
    assert (await index.measure(BACKLOG)).waiting == count
    assert await reconciler.glance() is None
    client, server = time.process_time() - client, cpu_seconds(pid) - server
    print(f"rebuild of {count:,} jobs: {seconds:.1f} s, {count / seconds:,.0f} jobs/s")
    print(f"processor time of it: client {client:.1f} s, server {server:.1f} s")
    print(f"add and take beside it, {INTAKE_PER_SECOND} a second: {intake.figures()}")
    return seconds


async def sweep(calls: Calls, count: int, run: str) -> None:
    """The same store, but another process serves it: everything is compared."""
    [repair] = await Reconciler(calls, SyntheticTruth(count)).round()
    assert repair.complete, repair.problem
    print(f"compared {count:,} jobs after {run}: {repair.removed} too many, {repair.corrected} corrected")


async def measure(stores: StandaloneStores, count: int, operations_count: int) -> bool:
    calls = Calls.to(IndexSettings(url=SecretStr(stores.url("redis")), call_timeout=CALL_TIMEOUT))
    pid = stores.pid("redis")
    await operations(QueueIndex(calls), calls, pid, operations_count)
    with Redis.from_url(stores.url("redis")) as operator:
        operator.flushall()
        seconds = await rebuild(calls, count, pid)
        print(f"memory of the server: {operator.info('memory')['used_memory_human']}")
        stores.stop("redis")
        started = time.perf_counter()
        stores.start("redis")
        print(f"restart with its data: {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    await sweep(calls, count, "the restart")
    print(f"took {time.perf_counter() - started:.1f} s")
    await calls.close()
    print(f"goal: rebuilt within {GOAL_SECONDS:.0f} s: {'met' if seconds <= GOAL_SECONDS else 'MISSED'}")
    return seconds <= GOAL_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="how many the emptied store is filled with")
    parser.add_argument("--operations", type=int, default=50_000, help="on how many jobs each operation is tried")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder, StandaloneStores(Path(folder), ["redis"]) as stores:
        return 0 if asyncio.run(measure(stores, arguments.jobs, arguments.operations)) else 1


if __name__ == "__main__":
    sys.exit(main())
