"""The api under load, with its stores on this machine and fsync on: an open loop of jobs over HTTP.

Single jobs at a steady rate, bulk requests as fast as they are answered, and single jobs that workers lease and
acknowledge at once. Every job goes through the token's check, audit, events and outbox, and is looked for in Postgres
afterwards. A bare loop (the same statements in natural batches at the same rate, without HTTP, tokens and index)
follows each part: it is what this machine's Postgres allows. The load generator is benchmarks/load, in Go; it stands
for other machines, and so yields to what it loads: a job that it sends late for that is late all the same, since all
times count from when the job was due. It has 256 connections: with 64 a single slow commit gathers all of them into one
batch, after which the api and Postgres wait for each other in turn, which an open loop would not allow. For the like
reason there are 16 workers: 4 cannot catch up once 400 jobs wait. No Kubernetes runs beside it: reviews of access are
answered by a stand-in.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg

from bare_loop import run_bulk, run_single
from machine import cpu_seconds_of_tree, describe
from muster_local.layout import StateLayout
from muster_local.stores.schema import prepare_schema, store_environment
from muster_local.stores.standalone import StandaloneStores
from muster_local.token_issuer import User, ensure_issuer, issuer_settings, make_token
from reviewing import Reviewer

HERE = Path(__file__).parent
GOALS = {"ack": (3.0, 30.0), "lease": (12.0, 45.0)}
GOAL_BULK = 30_000
YIELDING = ("nice", "-n", "15")
BULK = 500
BULK_SENDERS = 4
LONGEST_BARE = 20.0
LEAVES_IN_PEACE = {
    # What one tenant may do is not what is measured.
    "MUSTER_TENANT_JOBS_PER_SECOND": "1000000",
    "MUSTER_TENANT_BURST_JOBS": "1000000",
    "MUSTER_TENANT_PENDING_JOBS": "100000000",
}


class Latencies(msgspec.Struct):
    """In milliseconds."""

    p50: float
    p99: float
    p999: float
    most: float


class Load(msgspec.Struct):
    """What the load generator reports."""

    sent: int
    acknowledged: int
    refused: dict[str, int]
    seconds: float
    ack_ms: Latencies
    leased: int
    lease_ms: Latencies
    completed: int
    leased_again: int


class Bench:
    """An api with its stores, and the load on it."""

    def __init__(self, folder: Path, stores: StandaloneStores, apis: Mapping[int, subprocess.Popen[bytes]]) -> None:
        """The api's replicas by their ports."""
        self._folder = folder
        self._stores = stores
        self._apis = apis

    def load(self, *options: str) -> Load:
        """One run of the generator; prints what each process needed for a job, and whether all is there."""
        identities = self._folder / "identities"
        addresses = ",".join([f"127.0.0.1:{port}" for port in self._apis])
        command = [self._folder / "load", "-address", addresses, "-token-file", self._folder / "token"]
        before = self._processor_time()
        begun = os.times()
        done = subprocess.run(
            [*YIELDING, *command, "-identities", identities, *options], stdout=subprocess.PIPE, check=False
        )
        generator = os.times().children_user + os.times().children_system - begun.children_user - begun.children_system
        if done.returncode:
            raise SystemExit(f"the load could not be driven: {options}")
        load = msgspec.json.decode(done.stdout, type=Load)
        acknowledged = identities.read_text().split()
        after = self._processor_time()
        spent = ", ".join(f"{name} {1e6 * (after[name] - before[name]) / len(acknowledged):.0f}" for name in after)
        print(f"{'':<12}us of CPU a job: {spent}, generator {1e6 * generator / len(acknowledged):.0f}", flush=True)
        print(f"{'':<12}{self._found(acknowledged)}; refused or failed: {load.refused or 'none'}", flush=True)
        return load

    @property
    def url(self) -> str:
        """Of the database, for the bare loop, which runs while the api has nothing to do."""
        return self._stores.url("postgres")

    def _found(self, identities: list[str]) -> str:
        with psycopg.connect(self._stores.url("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("create temporary table acknowledged (id uuid primary key)")
            with cursor.copy("copy acknowledged from stdin") as copy:
                copy.write("\n".join(identities) + "\n")
            cursor.execute("select count(*) from acknowledged join muster.jobs using (id)")
            ((stored,),) = cursor.fetchall()
        lost = len(identities) - stored
        return f"{len(identities)} acknowledged, {'none' if lost == 0 else lost} lost"

    def _processor_time(self) -> dict[str, float]:
        return {
            "api": sum([cpu_seconds_of_tree(api.pid) for api in self._apis.values()]),
            "postgres": cpu_seconds_of_tree(self._stores.pid("postgres")),
            "redis": cpu_seconds_of_tree(self._stores.pid("redis")),
        }


@contextlib.contextmanager
def running_api(folder: Path, replicas: int) -> Iterator[Bench]:
    """Stores, stand-in, replicas of the api and generator, all ended in the end."""
    load = folder / "load"
    subprocess.run(["go", "build", "-o", load, "."], cwd=HERE / "load", check=True)
    layout = StateLayout(folder / "state")
    layout.make()
    ensure_issuer(layout)
    token = make_token(layout, User("ada", "team-a"), datetime.now(UTC), timedelta(hours=8))
    (folder / "token").write_text(token)
    with StandaloneStores(layout.stores) as stores, Reviewer() as reviewer:
        prepare_schema(layout.stores, ["api"], is_ours=True)
        environment = {
            **os.environ,
            **store_environment(layout.stores, "api"),
            **issuer_settings(layout),
            **LEAVES_IN_PEACE,
            "KUBECONFIG": str(reviewer.write_kubeconfig(folder / "kubeconfig")),
            "MUSTER_LOG_LEVEL": "WARNING",
        }
        apis: dict[int, subprocess.Popen[bytes]] = {}
        try:
            for _ in range(replicas):
                port = free_port()
                own = environment | {"MUSTER_LISTEN_PORT": str(port)}
                apis[port] = subprocess.Popen([sys.executable, "-m", "muster_queue", "api"], env=own)
            for port, api in apis.items():
                await_ready(f"http://127.0.0.1:{port}/readyz", api)
            yield Bench(folder, stores, apis)
        finally:
            for api in apis.values():
                api.send_signal(signal.SIGTERM)
            for api in apis.values():
                api.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_ready(url: str, api: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1.0):
                return
        except OSError as error:
            if time.monotonic() > deadline or api.poll() is not None:
                raise SystemExit(f"the api does not get ready: {_details(error)}") from error
            time.sleep(0.05)


def _details(error: OSError) -> str:
    return error.read().decode() if isinstance(error, urllib.error.HTTPError) else str(error)


def verdict(what: str, latencies: Latencies, goal: tuple[float, float]) -> str:
    reached = "reached" if latencies.p50 <= goal[0] and latencies.p99 <= goal[1] else "MISSED"
    figures = f"P50 {latencies.p50:.2f} ms  P99 {latencies.p99:.2f} ms  P99.9 {latencies.p999:.1f} ms"
    return f"{what:<12}{figures}  (goal {goal[0]:.0f} and {goal[1]:.0f} ms: {reached})"


def as_latencies(found: Sequence[float]) -> Latencies:
    p50, p99, p999, most = (found[int(share * (len(found) - 1))] for share in (0.5, 0.99, 0.999, 1.0))
    return Latencies(p50=p50, p99=p99, p999=p999, most=most)


def compare(what: str, ours: Latencies, bare: Sequence[float], goal: tuple[float, float]) -> None:
    """Against a loop of the same statements, which excuses a goal only where it misses that itself."""
    floor = as_latencies(bare)
    reached = "reaches" if floor.p50 <= goal[0] and floor.p99 <= goal[1] else "misses"
    ratios = f"{ours.p50 / floor.p50:.2f} and {ours.p99 / floor.p99:.2f} times the bare loop"
    print(verdict(what, ours, goal), flush=True)
    print(f"{'':<12}{ratios}: P50 {floor.p50:.2f} ms  P99 {floor.p99:.2f} ms, which {reached} the goal", flush=True)


def single(bench: Bench, rate: float, seconds: float) -> None:
    print(f"single jobs, {rate:.0f}/s for {seconds:.0f} s", flush=True)
    load = bench.load("-rate", str(rate), "-seconds", str(seconds))
    acks, _ = run_single(bench.url, rate, min(seconds, LONGEST_BARE), leased=False)
    compare("ack", load.ack_ms, acks, GOALS["ack"])


def leased(bench: Bench, rate: float, seconds: float, workers: int) -> None:
    print(f"single jobs, {rate:.0f}/s for {seconds:.0f} s, leased and acknowledged by {workers} workers", flush=True)
    load = bench.load("-rate", str(rate), "-seconds", str(seconds), "-workers", str(workers), "-queue", "leased")
    acks, claims = run_single(bench.url, rate, min(seconds, LONGEST_BARE), leased=True)
    compare("ack", load.ack_ms, acks, GOALS["ack"])
    compare("to lease", load.lease_ms, claims, GOALS["lease"])
    print(f"{'':<12}{load.leased} leased, {load.leased_again} of them again, {load.completed} completed", flush=True)


def bulk(bench: Bench, seconds: float) -> None:
    print(f"bulk requests of {BULK}, as fast as they are answered, for {seconds:.0f} s", flush=True)
    load = bench.load("-rate", "0", "-bulk", str(BULK), "-seconds", str(seconds), "-senders", str(BULK_SENDERS))
    rate = load.acknowledged / load.seconds
    floor = run_bulk(bench.url, BULK, BULK_SENDERS, min(seconds, LONGEST_BARE))
    reached = "reached" if rate >= GOAL_BULK else "MISSED"
    print(f"{'bulk':<12}{rate:.0f} jobs/s  (goal {GOAL_BULK}: {reached})", flush=True)
    print(f"{'':<12}{floor / rate:.2f} times the bare loop's time: {floor:.0f} jobs/s", flush=True)


def fill(bench: Bench, jobs: int) -> None:
    print(f"{jobs} jobs are queued first", flush=True)
    left = jobs
    while left > 0:
        load = bench.load("-rate", "0", "-bulk", str(BULK), "-seconds", "5", "-senders", "4", "-warm-up", "0")
        left -= load.acknowledged


def main() -> int:
    parts: dict[str, Callable[[Bench, argparse.Namespace], None]] = {
        "single": lambda bench, options: single(bench, options.rate, options.seconds),
        "leased": lambda bench, options: leased(bench, options.rate, options.seconds, options.workers),
        "bulk": lambda bench, options: bulk(bench, min(options.seconds, 20)),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--queued", type=int, default=0, help="jobs that are queued before, in another queue")
    parser.add_argument("--replicas", type=int, default=1, help="of the api")
    parser.add_argument("--workers", type=int, default=16, help="that lease up to 100 jobs at a time")
    parser.add_argument("--part", choices=parts, action="append", help="[all]")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(describe())
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        running_api(Path(folder), options.replicas) as bench,
    ):
        if options.queued:
            fill(bench, options.queued)
        for name in options.part or parts:
            parts[name](bench, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
