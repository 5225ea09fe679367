"""From a submission to its lease by a warm worker, over HTTP, on a real PostgreSQL (fsync on) and a real Redis.

Backlog: so many jobs are submitted first, then workers lease and acknowledge them as fast as they can: this is what a
job costs the pools. Open loop: jobs are submitted at a steady rate while workers wait; each is counted from the moment
at which its submission was due to the moment at which a worker has it. Every job is looked for in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
import uvloop

from bones_path import PostgresServer
from light_client import Client
from machine import cpu_seconds_of_tree, describe

POOL = "/api/v1/pools/team-a/default"
GOAL_P50_MS, GOAL_P99_MS = 12.0, 45.0
TICK_SECONDS = 0.001


class Config(msgspec.Struct):
    number: int = -1


class Lease(msgspec.Struct):
    job_id: str
    attempt: int
    config: Config


class Leases(msgspec.Struct):
    leases: list[Lease]


LEASES = msgspec.json.Decoder(Leases)


@dataclass
class Rig:
    """The processes of one run, and what was seen."""

    server: subprocess.Popen[str]
    postgres: PostgresServer
    redis_pid: int
    client: Client
    due: dict[int, float] = field(default_factory=dict)
    leased: dict[int, float] = field(default_factory=dict)
    acknowledged: list[float] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    refused: int = 0
    settled: int = 0
    doubled: int = 0

    def cpu(self) -> tuple[float, ...]:
        """Of the api, Postgres, Redis and this load generator."""
        pids = (self.server.pid, self.postgres.pid, self.redis_pid)
        return (*map(cpu_seconds_of_tree, pids), time.process_time())


async def submit(rig: Rig, number: int, head: bytes) -> None:
    body = (
        b'{"job_type":"inference","namespace":"team-a","execution":"pool","priority":80,"config":{"number":%d,"model":"resnet50"}}'
        % number
    )
    try:
        status, _ = await rig.client.post(head, body)
    except OSError:
        # Overloaded: its listening queue was full.
        status = 0
    if status != 201:
        rig.refused += 1
        return
    rig.acknowledged.append(time.perf_counter() - rig.due[number])


async def open_loop(rig: Rig, rate: float, first: int, count: int) -> None:
    head = rig.client.head("/api/v1/jobs/")
    start = time.perf_counter() + 0.05
    tasks: set[asyncio.Task[None]] = set()
    sent = 0
    while sent < count:
        late = time.perf_counter() - start
        while sent < count and sent / rate <= late:
            rig.due[first + sent] = start + sent / rate
            task = asyncio.create_task(submit(rig, first + sent, head))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(TICK_SECONDS)
    while tasks:
        await asyncio.wait(set(tasks))


async def work(rig: Rig, name: str, most: int) -> None:
    """Leases and, beside it, acknowledges what it has."""
    lease, acknowledge = rig.client.head(f"{POOL}/lease"), rig.client.head(f"{POOL}/acknowledge")
    asking = b'{"worker":"%b","most":%d,"wait_seconds":20}' % (name.encode(), most)
    done: list[Lease] = []
    came = asyncio.Event()

    async def tell() -> None:
        while True:
            await came.wait()
            came.clear()
            batch, done[:] = list(done), []
            ends = [{"job_id": each.job_id, "attempt": each.attempt, "result": {"class": 7}} for each in batch]
            for start in range(0, len(ends), 500):
                body = msgspec.json.encode({"worker": name, "successes": ends[start : start + 500]})
                status, text = await rig.client.post(acknowledge, body)
                rig.settled += text.count(b'"accepted"') if status == 200 else 0
                rig.news.set()

    telling = asyncio.create_task(tell())
    try:
        while True:
            status, text = await rig.client.post(lease, asking)
            now = time.perf_counter()
            if status != 200:
                rig.refused += 1
                await asyncio.sleep(0.1)
                continue
            for each in LEASES.decode(text).leases:
                rig.doubled += each.config.number in rig.leased
                rig.leased[each.config.number] = now
                done.append(each)
            came.set()
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def until_settled(rig: Rig, count: int) -> None:
    async with asyncio.timeout(60):
        while rig.settled < count:
            rig.news.clear()
            await rig.news.wait()


def tell(what: str, rig: Rig, before: tuple[float, ...], seconds: float, count: int) -> None:
    costs = [(after - early) / count * 1e6 for early, after in zip(before, rig.cpu(), strict=True)]
    names = ("api", "postgres", "redis", "load generator")
    told = ", ".join(f"{name} {cost:.0f} us" for name, cost in zip(names, costs, strict=True))
    print(f"{what:<28} {count / seconds:7.0f} jobs/s   CPU a job: {told}", flush=True)


def percentiles(values: list[float]) -> str:
    ordered = sorted(values)
    shown = [(share, ordered[int(share * (len(ordered) - 1))] * 1000) for share in (0.5, 0.9, 0.99, 1.0)]
    return "   ".join(f"P{share * 100:.0f} {value:.1f} ms" for share, value in shown)


async def run(rig: Rig, arguments: argparse.Namespace) -> bool:
    total = arguments.backlog
    before, begun = rig.cpu(), time.perf_counter()
    await fill(rig, 0, total)
    tell("submitted, nobody leases", rig, before, time.perf_counter() - begun, total)
    before, begun = rig.cpu(), time.perf_counter()
    workers = [asyncio.create_task(work(rig, f"w{number}", arguments.most)) for number in range(arguments.workers)]
    await until_settled(rig, total)
    tell("leased and acknowledged", rig, before, time.perf_counter() - begun, total)
    for rate in arguments.rate:
        count = int(rate * arguments.seconds)
        rig.acknowledged.clear()
        gc.collect()
        before, begun = rig.cpu(), time.perf_counter()
        await open_loop(rig, rate, total, count)
        await until_settled(rig, total + count - rig.refused)
        tell(f"open loop, {rate:.0f}/s", rig, before, time.perf_counter() - begun, count)
        latencies = [
            rig.leased[number] - rig.due[number] for number in range(total, total + count) if number in rig.leased
        ]
        print(f"{'':<28} submission to 201:   {percentiles(rig.acknowledged)}")
        print(
            f"{'':<28} submission to lease: {percentiles(latencies)}"
            f" (goal P50 {GOAL_P50_MS:.0f}, P99 {GOAL_P99_MS:.0f})"
        )
        total += count
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    rig.client.close()
    return exact(rig, total)


async def fill(rig: Rig, first: int, last: int) -> None:
    head = rig.client.head("/api/v1/jobs/")
    numbers = iter(range(first, last))

    async def send() -> None:
        for number in numbers:
            rig.due[number] = time.perf_counter()
            await submit(rig, number, head)

    await asyncio.gather(*(send() for _ in range(64)))


def exact(rig: Rig, total: int) -> bool:
    with psycopg.connect(rig.postgres.url(DATABASE["name"])) as connection:
        counted = connection.execute(
            "select (select count(*) from muster.jobs where phase = 'Succeeded'),"
            " (select count(*) from muster.dispatches)"
        ).fetchone()
    print(
        f"{total} submitted, {rig.refused} refused, {rig.settled} acknowledged, {rig.doubled} leased twice, {counted}"
    )
    return counted == (total - rig.refused, total - rig.refused) and not rig.doubled


DATABASE: dict[str, str] = {}


@contextmanager
def rig_of() -> Iterator[Rig]:
    from bones.redis_servers import RedisServer, any_binary
    from muster_queue.storage.migrations.runner import upgrade

    folder = Path(tempfile.mkdtemp(prefix="muster-pools-"))
    postgres = PostgresServer().start()
    try:
        with RedisServer(any_binary()) as redis:
            name = DATABASE["name"] = postgres.create_database()
            upgrade(postgres.url(name))
            command = [sys.executable, str(Path(__file__).with_name("pool_server.py")), str(folder)]
            command += [postgres.app_url(name), redis.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                try:
                    port, token = server.stdout.readline().split()
                    pid = int(redis.ask("INFO", "server").split("process_id:")[1].split()[0])
                    yield Rig(server, postgres, pid, Client(int(port), token))
                finally:
                    server.terminate()
    finally:
        postgres.destroy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, nargs="+", default=[1000, 2500, 5000], help="[1000 2500 5000]")
    parser.add_argument("--seconds", type=float, default=10, help="of each open loop [10]")
    parser.add_argument("--backlog", type=int, default=20_000, help="jobs submitted before anybody leases [20000]")
    parser.add_argument("--workers", type=int, default=8, help="that wait at once [8]")
    parser.add_argument("--most", type=int, default=100, help="jobs that each takes at once [100]")
    arguments = parser.parse_args()
    print(describe())
    with rig_of() as rig, suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(run(rig, arguments)) else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
