"""Intake alone, in front of a real PostgreSQL with fsync on: no HTTP, no index, no Kubernetes.

Closed loop: so many senders, each sending its next job once the last is committed. Open loop: jobs at a steady rate,
each counted from the moment at which it was due, so that a slow commit cannot hide those behind it. Bulk: requests of
many jobs. All of it writes audit and outbox, and each job is looked for in the database in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import msgspec
import uvloop

from bones_path import PostgresServer
from machine import cpu_seconds_of_tree, describe
from muster_queue.intake.intake import Intake
from muster_queue.intake.settings import IntakeSettings
from muster_queue.storage.database import Database
from muster_queue.storage.identifiers import JobIds, generated_name
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.migrations.runner import upgrade
from muster_queue.storage.records import NewJob, Request
from muster_queue.storage.settings import StorageSettings
from muster_queue.storage.submissions import Submissions

SPEC = msgspec.Raw(
    b'{"jobType":"inference","priority":80,"image":"pytorch-inference:latest","config":{"model":"resnet50",'
    b'"batch_size":32},"execution":"pool","env":[{"name":"PADDING","value":"' + b"x" * 160 + b'"}]}'
)
GOAL_P50_MS, GOAL_P99_MS = 3.0, 30.0
GOAL_BULK = 30_000
WARM_UP_JOBS = 3_000
TICK_SECONDS = 0.001
"""Of the open loop: what has become due is sent together, and counted from when each was due."""

IDS = JobIds()
Submit = Callable[[Request], Awaitable[object]]


def make_job() -> NewJob:
    job_id = IDS.make()
    return NewJob(
        id=job_id,
        namespace="team-a",
        name=generated_name(job_id),
        is_named=False,
        job_type="inference",
        queue="default",
        execution="pool",
        spec=SPEC,
        submitter="ada@example.com",
        priority=80,
    )


async def closed_loop(submit: Submit, senders: int, jobs: int) -> list[float]:
    """Latencies in seconds."""
    latencies: list[float] = []

    async def send() -> None:
        for _ in range(jobs // senders):
            begun = time.perf_counter()
            await submit(Request(jobs=(make_job(),)))
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(send() for _ in range(senders)))
    return latencies


async def open_loop(submit: Submit, rate: float, jobs: int) -> list[float]:
    """Latencies in seconds, each from when it was due."""
    latencies: list[float] = []
    start = time.perf_counter() + 0.05
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        await submit(Request(jobs=(make_job(),)))
        latencies.append(time.perf_counter() - due)

    sent = 0
    while sent < jobs:
        late = time.perf_counter() - start
        while sent < jobs and sent / rate <= late:
            task = asyncio.create_task(one(start + sent / rate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(TICK_SECONDS)
    while tasks:
        await asyncio.wait(set(tasks))
    return latencies


async def bulk(submit: Submit, size: int, senders: int, jobs: int) -> list[float]:
    latencies: list[float] = []

    async def send() -> None:
        for _ in range(jobs // size // senders):
            request = Request(jobs=tuple(make_job() for _ in range(size)))
            begun = time.perf_counter()
            await submit(request)
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(send() for _ in range(senders)))
    return latencies


class Bench:
    """One measurement after the other on one server."""

    def __init__(self, server: PostgresServer, database: Database, intake: Intake) -> None:
        self._server = server
        self._database = database
        self._intake = intake
        self.submitted = 0

    async def submit(self, request: Request) -> None:
        await self._intake.submit(request)

    async def measure(self, what: str, jobs: int, work: Callable[[], Awaitable[list[float]]]) -> tuple[float, float]:
        """Prints a line; returns jobs a second and the 99th percentile in milliseconds."""
        gc.collect()
        cpu, own, begun = cpu_seconds_of_tree(self._server.pid), time.process_time(), time.perf_counter()
        latencies = sorted(await work())
        seconds = time.perf_counter() - begun
        cpu, own = cpu_seconds_of_tree(self._server.pid) - cpu, time.process_time() - own
        self.submitted += jobs
        p50, p99 = (latencies[int(share * (len(latencies) - 1))] * 1000 for share in (0.5, 0.99))
        print(
            f"{what:<34} {jobs / seconds:8.0f} jobs/s   P50 {p50:7.2f} ms   P99 {p99:7.2f} ms   "
            f"CPU a job: intake {own / jobs * 1e6:4.0f} us, postgres {cpu / jobs * 1e6:4.0f} us",
            flush=True,
        )
        return jobs / seconds, p99

    async def nothing_is_lost(self) -> bool:
        ((stored, audited),) = await self._database.read(
            b"select (select count(*) from muster.jobs), (select sum(cardinality(job_ids)) from muster.audit)", {}
        )
        print(f"{self.submitted} acknowledged, {stored} stored, {audited} in the audit")
        return bool(stored == audited == self.submitted)


@contextlib.contextmanager
def private_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        yield server.start()
    finally:
        server.destroy()


@contextlib.asynccontextmanager
async def running_intake(url: str, flushers: int) -> AsyncIterator[tuple[Database, Intake]]:
    settings = IntakeSettings(flushers=flushers, waiting_jobs=100_000, waiting_bulk_jobs=200_000)
    async with Database(StorageSettings.model_validate({"database_url": url})) as database:
        intake = Intake(Submissions(database), Jobs(database), settings, ids=IDS)
        running = asyncio.create_task(intake.run())
        try:
            yield database, intake
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def run(server: PostgresServer, url: str, arguments: argparse.Namespace) -> bool:
    async with running_intake(url, arguments.flushers) as (database, intake):
        bench = Bench(server, database, intake)
        submit, seconds = bench.submit, arguments.seconds
        await bench.measure("warm-up", WARM_UP_JOBS, partial(closed_loop, submit, 50, WARM_UP_JOBS))
        for senders in (1, 16, 64, 256):
            jobs = senders * max(1, int(arguments.closed_jobs / senders))
            await bench.measure(f"closed loop, {senders} senders", jobs, partial(closed_loop, submit, senders, jobs))
        for rate in arguments.rate:
            jobs = int(rate * seconds)
            _, p99 = await bench.measure(f"open loop, {rate:.0f}/s", jobs, partial(open_loop, submit, rate, jobs))
            print(f"{'':<34} P99 below {GOAL_P99_MS:.0f} ms: {'reached' if p99 < GOAL_P99_MS else 'MISSED'}")
        size, senders = arguments.bulk_size, 4
        jobs = arguments.bulk_jobs // (size * senders) * size * senders
        rate, _ = await bench.measure(f"bulk of {size}", jobs, partial(bulk, submit, size, senders, jobs))
        print(f"{'':<34} at least {GOAL_BULK} jobs/s: {'reached' if rate >= GOAL_BULK else 'MISSED'}")
        return await bench.nothing_is_lost()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, nargs="+", default=[2500, 5000], help="of the open loops [2500 5000]")
    parser.add_argument("--seconds", type=float, default=10, help="of each open loop [10]")
    parser.add_argument("--closed-jobs", type=int, default=20_000, help="of each closed loop [20000]")
    parser.add_argument("--bulk-size", type=int, default=500)
    parser.add_argument("--bulk-jobs", type=int, default=100_000)
    parser.add_argument("--flushers", type=int, default=1, help="commits of single jobs under way at once [1]")
    arguments = parser.parse_args()
    print(describe())
    with private_server() as server:
        print(f"PostgreSQL on a unix socket, fsync on, load {os.getloadavg()[0]:.1f}")
        url = server.url(server.create_database())
        upgrade(url)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return 0 if runner.run(run(server, url, arguments)) else 1


if __name__ == "__main__":
    sys.exit(main())
