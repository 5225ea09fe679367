"""How long one plan takes: every strategy on a thousand nodes of eight GPUs, processor time and wall time."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from machine import describe
from muster_api.objects import Condition, Node, NodeStatus, ObjectMeta
from muster_planner.capacity import Capacity, snapshot_of
from muster_planner.planning import plan
from muster_planner.policy import Policy, Strategy
from muster_planner.request import Constraints, GangRequest, MemberGroup
from muster_planner.snapshot import Snapshot

ROUNDS = 7
NODES = 1000
GPU = "nvidia.com/gpu"


def node(number: int) -> Node:
    amounts = {"cpu": "64", "memory": "256Gi", GPU: "8", "pods": "110"}
    status = NodeStatus(allocatable=amounts, conditions=(Condition(type="Ready", status="True"),))
    return Node(metadata=ObjectMeta(name=f"node-{number:05d}"), status=status)


def workers(count: int, gpus: int = 1) -> MemberGroup:
    demand = {GPU: gpus, "cpu": 1000, "memory": 2**30, "pods": 1}
    return MemberGroup(f"gpus-{gpus}", demand, Constraints(), count)


def gang(number: int, *groups: MemberGroup) -> GangRequest:
    whole = sum(group.count for group in groups)
    return GangRequest(("team", f"gang-{number}"), f"uid-{number:06d}", 50, "2026-01-01T00:00:00Z", groups, whole)


SHAPES: tuple[tuple[str, Sequence[GangRequest]], ...] = (
    ("1 gang of 5000", [gang(0, workers(5000))]),
    ("250 gangs of 20", [gang(number, workers(20)) for number in range(250)]),
    ("1000 gangs of 1", [gang(number, workers(1)) for number in range(1000)]),
    ("100 gangs of 1 x 0 + 8 x 8 GPUs", [gang(number, workers(1, 0), workers(8, 8)) for number in range(100)]),
    ("10000 gangs of 20, 400 fit", [gang(number, workers(20)) for number in range(10_000)]),
)


def timed(work: Callable[[], object]) -> str:
    """Median processor time and median wall time in milliseconds, after one run that fills the masks."""
    work()
    processor, wall = [], []
    for _ in range(ROUNDS):
        started = time.process_time(), time.perf_counter()
        work()
        processor.append(time.process_time() - started[0])
        wall.append(time.perf_counter() - started[1])
    medians = [statistics.median(times) * 1000 for times in (processor, wall)]
    return f"median {medians[0]:8.2f} ms of processor, {medians[1]:8.2f} ms of wall time"


def report_plans(snapshot: Snapshot) -> None:
    for title, requests in SHAPES:
        for strategy in Strategy:
            policy = Policy(strategy=strategy)
            figures = timed(partial(plan, snapshot, requests, policy, 0.0))
            print(f"{title:34} {strategy:14} {figures}")


def report_capacity() -> None:
    capacity = Capacity()
    for number in range(NODES):
        capacity.upsert_node(node(number))
    capacity.freeze()
    demand = {GPU: 1, "cpu": 1000, "memory": 2**30, "pods": 1}

    def churn() -> None:
        for number in range(5000):
            capacity.take(f"node-{number % NODES:05d}", number, demand)
        capacity.freeze()
        for number in range(5000):
            capacity.give(f"node-{number % NODES:05d}", number)

    print(f"{'5000 takes, freeze, 5000 gives':49} {timed(churn)}")


def main() -> int:
    """Prints figures; it judges none."""
    print(describe())
    report_plans(snapshot_of(map(node, range(NODES))))
    report_capacity()
    return 0


if __name__ == "__main__":
    sys.exit(main())
