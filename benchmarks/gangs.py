"""Gangs of plain pods against as many ungated pods on the stock scheduler: first create to last bound, as a ratio.

Both run on a control plane of their own with 1000 simulated nodes, one after the other in turn, so that a drifting
machine hits both alike. The figure is the ratio of the medians; the goal for gated plain pods is at most 1.7.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import uvloop

import machine
from muster_local.cluster import Cluster
from pods import Run, Shape, measure

GOAL = 1.7
SERVICES = ("kube-apiserver", "kube-scheduler", "extender", "controller", "webhook")


def one_run(folder: Path, shape: Shape, *, muster: bool, nodes: int, bare: bool) -> Run:
    """A fresh control plane, one shape through it, and everything away again."""
    cluster = Cluster(folder)
    try:
        cluster.up(nodes=nodes, muster=muster, bare=bare)
        namespace = "bench"
        labels = {"aiplatform.example.com/managed": "true"} if muster else {}
        cluster.client.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
        )
        before = processor_time(cluster)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run = runner.run(measure(cluster.kubeconfig(), namespace, shape, gangs=muster))
        report(run, shape, "gangs" if muster else "stock", before, processor_time(cluster))
        return run
    finally:
        cluster.down(purge=True)


def processor_time(cluster: Cluster) -> dict[str, float]:
    """Processor seconds of each component that runs; the extender's server is a child of its reported process."""
    names = [name for name in SERVICES if cluster.is_running(name)]
    return {name: machine.cpu_seconds_of_tree(cluster.pid(name)) for name in names}


def report(run: Run, shape: Shape, kind: str, before: dict[str, float], after: dict[str, float]) -> None:
    latencies = run.latencies
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    spent = ", ".join(f"{name} {1000 * (after[name] - before[name]) / shape.pods:.2f}" for name in after)
    latency = f"create to bound P50 {p50:.2f} s P99 {p99:.2f} s"
    print(f"  {kind:<6} {run.seconds:6.1f} s  {latency}  ms of CPU per pod: {spent}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="append", help="GANGSxSIZE, for example 250x20; may be given again")
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
        runs: dict[bool, list[float]] = {False: [], True: []}
        for number in range(options.rounds):
            for muster in (False, True) if number % 2 == 0 else (True, False):
                with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
                    run = one_run(Path(folder) / "state", shape, muster=muster, nodes=options.nodes, bare=options.bare)
                runs[muster].append(run.seconds)
        stock, gangs = statistics.median(runs[False]), statistics.median(runs[True])
        print(f"  median: stock {stock:.1f} s, gangs {gangs:.1f} s; ratio {gangs / stock:.2f} (goal: at most {GOAL})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
