"""Gangs against as many ungated pods on the stock scheduler: first create to last bound, as a ratio.

Gangs of plain pods, or AIJobs. Both run on a control plane of their own with 1000 simulated nodes, one after the other
in turn, so that a drifting machine hits both alike. The figure is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import uvloop

import machine
from muster_local.cluster import Cluster
from pods import Kind, Run, Shape, measure

GOAL_LEADER_SECONDS = 0.005
LEADER_BUCKET = re.compile(r'^muster_gang_leader_seconds_bucket{le="([^"]+)"} (\S+)$', re.MULTILINE)
GOALS = {Kind.GANGS: 1.7, Kind.AIJOBS: 1.0}
SERVICES = ("kube-apiserver", "kube-scheduler", "extender", "controller", "webhook")


def one_run(folder: Path, shape: Shape, kind: Kind, *, nodes: int, bare: bool) -> Run:
    """A fresh control plane, one shape through it, and everything away again."""
    cluster, muster = Cluster(folder), kind is not Kind.STOCK
    try:
        cluster.up(nodes=nodes, muster=muster, bare=bare, stores=False)
        namespace = "bench"
        labels = {"aiplatform.example.com/managed": "true"} if muster else {}
        cluster.client.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        )
        before = processor_time(cluster)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run = runner.run(measure(cluster.kubeconfig(), namespace, shape, kind))
        report(run, shape, kind, before, processor_time(cluster))
        if muster:
            print(f"         {leader_time(cluster, shape)}", flush=True)
        return run
    finally:
        cluster.down(purge=True)


def leader_time(cluster: Cluster, shape: Shape) -> str:
    """What half of the gangs took of the leader's time at most, by the bounds of its own histogram."""
    deadline = time.monotonic() + 10.0
    counts: dict[str, float] = {}
    while counts.get("+Inf", 0) < shape.gangs and time.monotonic() < deadline:
        time.sleep(0.1)
        with urllib.request.urlopen(f"{cluster.url('controller')}/metrics", timeout=5.0) as answer:
            found = LEADER_BUCKET.findall(answer.read().decode())
        counts = {bound: float(count) for bound, count in found}
    half = next((bound for bound, count in counts.items() if count * 2 >= counts["+Inf"] > 0), "?")
    return f"leader time per gang before its commit: P50 within {half} s (goal: within {GOAL_LEADER_SECONDS} s)"


def processor_time(cluster: Cluster) -> dict[str, float]:
    """Processor seconds of each component that runs; the extender's server is a child of its reported process.

    Where the pods are stock or plain, this process creates and watches them: what that costs with the controller's own
    libraries is the floor for a controller that does both.
    """
    names = [name for name in SERVICES if cluster.is_running(name)]
    spent = {name: machine.cpu_seconds_of_tree(cluster.pid(name)) for name in names}
    return spent | {"this process": machine.cpu_seconds(os.getpid())}


def report(run: Run, shape: Shape, kind: Kind, before: dict[str, float], after: dict[str, float]) -> None:
    latencies = run.latencies
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    spent = ", ".join(f"{name} {1000 * (after[name] - before[name]) / shape.pods:.2f}" for name in after)
    latency = f"create to bound P50 {p50:.2f} s P99 {p99:.2f} s"
    print(f"  {kind:<6} {run.seconds:6.1f} s  {latency}  ms of CPU per pod: {spent}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", help="GANGSxSIZE, for example 250x20; may be given again")
    parser.add_argument(
        "--kind", type=Kind, choices=GOALS, action="append", help="what stands against stock; may be given again"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument(
        "--bare", action="store_true", help="nobody plays kubelet: only creating and binding is measured"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shapes = [Shape(*map(int, text.split("x"))) for text in options.shape or ["250x20"]]
    print(f"machine: {machine.describe()}")
    for shape in shapes:
        print(f"{shape} pods with 1 GPU each on {options.nodes} nodes, {options.rounds} rounds in turn", flush=True)
        compare(shape, options.kind or list(GOALS), options)
    return 0


def compare(shape: Shape, kinds: list[Kind], options: argparse.Namespace) -> None:
    """Runs all in turn, the other way round each time, and prints the ratios."""
    order = [Kind.STOCK, *kinds]
    runs: dict[Kind, list[float]] = {kind: [] for kind in order}
    for number in range(options.rounds):
        for kind in order if number % 2 == 0 else reversed(order):
            with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
                run = one_run(Path(folder) / "state", shape, kind, nodes=options.nodes, bare=options.bare)
            runs[kind].append(run.seconds)
    stock = statistics.median(runs[Kind.STOCK])
    for kind in kinds:
        ours = statistics.median(runs[kind])
        figure = f"ratio {ours / stock:.2f} (goal: at most {GOALS[kind]})"
        print(f"  median: stock {stock:.1f} s, {kind} {ours:.1f} s; {figure}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
