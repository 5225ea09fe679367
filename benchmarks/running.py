"""Ten thousand jobs that run at once: some in the hands of warm workers, the others as pods on simulated nodes.

A control plane with both stores is started, all jobs are submitted over REST, and none of them ever ends. Measured is
how long it takes until all of them run and what a job costs; then they go on for a while, and Postgres, REST and
Kubernetes have to agree that each of them runs, in its first attempt. Workers are processes of `muster-worker pool`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

import machine
from bones_path import Employer, RestApi, WorkerProcess
from muster_api.names import GPU_RESOURCE, MANAGED_LABEL
from muster_local.cluster import Cluster
from muster_local.token_issuer import Role

NAMESPACE = "bench"
COMPONENTS = (
    *("api", "controller", "postgres", "redis", "kube-apiserver", "etcd"),
    *("kube-scheduler", "extender", "webhook", "kwok"),
)
BULK = 500
MOST_PER_WORKER = 1000
FOR_EVER = {"rounds": 1_000_000, "samples_per_round": 1, "step_delay_ms": 3_600_000}
LOOK_SECONDS = 0.5
TOLD_SECONDS = 15.0
PAGE = 500
STANDING = """
    select count(*) filter (where execution = 'pool'), count(*) filter (where execution = 'pod')
    from muster.jobs where namespace = %s and phase = 'Running' and attempt = 1
"""
OPEN = "select count(*) from muster.dispatches where namespace = %s and ended_at is null and attempt = 1"


@dataclass
class Rig:
    """The control plane of one run."""

    cluster: Cluster
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        namespace = {"name": NAMESPACE, "labels": {MANAGED_LABEL: "true"}}
        self.cluster.client.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}
        )
        self.api = RestApi(self.cluster, NAMESPACE, "bench", Role.CLUSTER_ADMIN)

    def start_workers(self, jobs: int) -> None:
        employer = Employer(self.api.url, NAMESPACE, self.api.token)
        for number in range(-(-jobs // MOST_PER_WORKER)):
            worker = WorkerProcess(employer, self.folder, f"worker-{number}", concurrency=MOST_PER_WORKER)
            self.workers.append(worker)

    def cpu(self) -> dict[str, float]:
        """Processor seconds of every process."""
        spent = {name: machine.cpu_seconds_of_tree(self.cluster.pid(name)) for name in COMPONENTS}
        return spent | {"workers": sum(machine.cpu_seconds_of_tree(worker.process.pid) for worker in self.workers)}

    def standing(self) -> tuple[int, int]:
        """How many jobs run in their first attempt: of pools, and as pods."""
        of_pools, of_pods = self._ask(STANDING)
        return of_pools, of_pods

    def open_attempts(self) -> int:
        (count,) = self._ask(OPEN)
        return int(count)

    def running_over_rest(self) -> int:
        """By walking through the whole list."""
        found: set[str] = set()
        page = ""
        while True:
            path = f"/api/v1/jobs/?namespace={NAMESPACE}&phase=Running&limit={PAGE}{page}"
            answer = self.api.ask("GET", path).json()
            found |= {job["job_id"] for job in answer["items"] if job["attempt"] == 1}
            if answer["next"] is None:
                return len(found)
            page = f"&page={answer['next']}"

    def counted_over_rest(self) -> int:
        """By the queues, which are some seconds old."""
        queues = self.api.ask("GET", f"/api/v1/queues?namespace={NAMESPACE}").json()["items"]
        return sum(queue["running"] for queue in queues)

    def running_in_kubernetes(self) -> tuple[int, int]:
        """AIJobs, and pods."""
        aijobs = self.cluster.client.get(f"/apis/aiplatform.example.com/v1alpha1/namespaces/{NAMESPACE}/aijobs")
        pods = self.cluster.client.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
        aijobs_run, pods_run = (
            sum(item.get("status", {}).get("phase") == "Running" for item in found["items"]) for found in (aijobs, pods)
        )
        return aijobs_run, pods_run

    def _ask(self, text: str) -> tuple[Any, ...]:
        with psycopg.connect(self.cluster.store_url("postgres")) as connection:
            row = connection.execute(text.encode(), [NAMESPACE]).fetchone()
        assert row is not None
        return row


def bodies(of_pools: int, of_pods: int) -> Iterator[dict[str, Any]]:
    """Both kinds in turn, as long as there are any of both."""
    for number in range(max(of_pools, of_pods)):
        if number < of_pools:
            yield {"job_type": "simulation", "namespace": NAMESPACE, "execution": "pool", "config": FOR_EVER}
        if number < of_pods:
            yield {
                "job_type": "simulation",
                "namespace": NAMESPACE,
                "image": "none",
                "resources": {"requests": {GPU_RESOURCE: "1", "cpu": "1", "memory": "1Gi"}},
            }


def submit(rig: Rig, of_pools: int, of_pods: int) -> None:
    waiting: list[dict[str, Any]] = []
    for body in bodies(of_pools, of_pods):
        waiting.append(body)
        if len(waiting) == BULK:
            send(rig, waiting)
            waiting = []
    if waiting:
        send(rig, waiting)


def send(rig: Rig, jobs: list[dict[str, Any]]) -> None:
    answer = rig.api.ask("POST", "/api/v1/jobs/bulk", jobs)
    if answer.status != 201:
        raise SystemExit(f"a bulk was not taken: {answer.status} {answer.body[:500]!r}")


def until_all_run(rig: Rig, of_pools: int, of_pods: int, patience: float) -> dict[str, float]:
    """Seconds from now until all of each kind run."""
    begin, told, seconds = time.monotonic(), 0.0, dict[str, float]()
    while len(seconds) < 2:
        now = time.monotonic() - begin
        standing = rig.standing()
        for kind, count, wanted in zip(("pools", "pods"), standing, (of_pools, of_pods), strict=True):
            if count >= wanted:
                seconds.setdefault(kind, now)
        if now - told >= TOLD_SECONDS:
            told = now
            print(f"  after {now:4.0f} s {standing[0]} of pools and {standing[1]} as pods run", flush=True)
        if now > patience:
            raise SystemExit(f"after {now:.0f} s only {standing} run")
        time.sleep(LOOK_SECONDS)
    return seconds


def tell_cost(what: str, before: Mapping[str, float], after: Mapping[str, float], jobs: int) -> None:
    costs = [f"{name} {1000 * (after[name] - before[name]) / jobs:.2f}" for name in after]
    print(f"  {what}, ms of CPU per job: {', '.join(costs)}", flush=True)


def agree(rig: Rig, of_pools: int, of_pods: int) -> bool:
    """Whether everybody says that all of them run."""
    total = of_pools + of_pods
    found = {
        "rows that run": (sum(rig.standing()), total),
        "open attempts": (rig.open_attempts(), total),
        "jobs in the REST list": (rig.running_over_rest(), total),
        "jobs in the REST queues": (rig.counted_over_rest(), total),
        "AIJobs and pods": (rig.running_in_kubernetes(), (of_pods, of_pods)),
    }
    for what, (count, wanted) in found.items():
        print(f"  {what}: {count}{'' if count == wanted else f', and not {wanted}'}", flush=True)
    return all(count == wanted for count, wanted in found.values())


def run(rig: Rig, options: argparse.Namespace) -> bool:
    of_pools, of_pods, total = options.pools, options.pods, options.pools + options.pods
    rig.start_workers(of_pools)
    before, begin = rig.cpu(), time.monotonic()
    submit(rig, of_pools, of_pods)
    print(f"  {total} jobs submitted in {time.monotonic() - begin:.1f} s", flush=True)
    submitted = time.monotonic() - begin
    seconds = until_all_run(rig, of_pools, of_pods, options.patience)
    for kind, count in (("pools", of_pools), ("pods", of_pods)):
        print(f"  all {count} of {kind} run {submitted + seconds[kind]:.1f} s after the first submission", flush=True)
    running = rig.cpu()
    tell_cost("until all run", before, running, total)
    time.sleep(options.hold)
    tell_cost(f"while they run for {options.hold:.0f} s", running, rig.cpu(), total)
    return agree(rig, of_pools, of_pods)


@contextmanager
def rig_of(nodes: int) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="muster-running-") as folder:
        cluster, rig = Cluster(Path(folder) / "state"), None
        try:
            cluster.up(nodes=nodes, stores=True)
            rig = Rig(cluster, Path(folder))
            yield rig
        finally:
            for worker in rig.workers if rig is not None else ():
                worker.kill()
            cluster.down(purge=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=5000, help="jobs of pools [5000]")
    parser.add_argument("--pods", type=int, default=5000, help="jobs that are pods [5000]")
    parser.add_argument("--nodes", type=int, default=1000, help="simulated ones, of 8 GPUs [1000]")
    parser.add_argument("--hold", type=float, default=60, help="seconds that all of them run [60]")
    parser.add_argument("--patience", type=float, default=1200, help="seconds until all of them run at most [1200]")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"machine: {machine.describe()}")
    print(f"{options.pools} jobs of pools and {options.pods} as pods on {options.nodes} nodes", flush=True)
    with rig_of(options.nodes) as rig:
        return 0 if run(rig, options) else 1


if __name__ == "__main__":
    sys.exit(main())
