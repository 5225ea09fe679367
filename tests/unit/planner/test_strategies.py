"""Each strategy's choice of nodes, and the scores that the extender derives from the same ideas."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bones.planning import GPU, cluster, gang, members, planned, planner_node, spots
from muster_planner.capacity import Capacity
from muster_planner.policy import Policy, Strategy
from muster_planner.scoring import score_nodes


def chosen(
    strategy: Strategy, free: dict[str, int], wanted: int, gpus: int = 1, cheap: tuple[str, ...] = (), seed: int = 0
) -> dict[str, int]:
    """Members per node, of nodes of eight GPUs with so many free."""
    label = {"gpu-orchestrator/cheap-node": "true"}
    nodes = [planner_node(name, labels=label if name in cheap else {}) for name in free]
    snapshot = cluster(nodes, {name: 8 - left for name, left in free.items()})
    plan = planned(snapshot, gang("g", members(wanted, gpus=gpus)), policy=Policy(strategy=strategy, seed=seed))
    return spots(plan.reservations[0])


BINPACK = [
    pytest.param({"a": 8, "b": 3}, 1, 1, {"b": 1}, id="one member goes to the fullest node that takes it"),
    pytest.param({"a": 1, "b": 4, "c": 8}, 4, 1, {"b": 4}, id="an exact hole is filled whole"),
    pytest.param({"a": 2, "b": 2, "c": 8}, 4, 1, {"a": 2, "b": 2}, id="holes are filled before a whole node is opened"),
    pytest.param({"a": 8, "b": 8, "c": 4}, 12, 1, {"a": 8, "c": 4}, id="whole nodes first, the rest into the hole"),
    pytest.param({"a": 8, "b": 8, "c": 3}, 9, 1, {"a": 8, "c": 1}, id="the remainder opens no second whole node"),
    pytest.param({"a": 3, "b": 8}, 1, 4, {"b": 1}, id="a hole too small is no hole"),
    pytest.param({"b": 8, "a": 8}, 1, 1, {"a": 1}, id="ties go by node name"),
    pytest.param({"a": 0, "b": 5}, 2, 2, {"b": 2}, id="full nodes are passed over"),
]


@pytest.mark.parametrize(("free", "wanted", "gpus", "expected"), BINPACK)
def test_binpack(free: dict[str, int], wanted: int, gpus: int, expected: dict[str, int]) -> None:
    assert chosen(Strategy.BINPACK, free, wanted, gpus) == expected


def test_small_gangs_leave_whole_nodes_to_a_big_one() -> None:
    snapshot = cluster([planner_node(f"n{number}") for number in range(4)])
    small = [gang(f"small-{number}", members(1, gpus=2), priority=90) for number in range(4)]
    assert len(planned(snapshot, *small, gang("big", members(3, gpus=8))).reservations) == 5


def test_members_without_gpus_leave_gpu_nodes_alone() -> None:
    snapshot = cluster([planner_node("a"), planner_node("b", gpus=0)])
    plan = planned(snapshot, gang("g", members(2, gpus=0)))
    assert spots(plan.reservations[0]) == {"b": 2}


def test_equal_gpus_left_go_to_the_node_with_fewer_cpus_left() -> None:
    capacity = Capacity()
    capacity.upsert_node(planner_node("a"))
    capacity.upsert_node(planner_node("b"))
    capacity.take("b", "other", {"cpu": 30_000})
    assert spots(planned(capacity.freeze(), gang("g", members(1, gpus=8))).reservations[0]) == {"b": 1}


LEAST_LOADED = [
    pytest.param({"a": 8, "b": 8, "c": 8}, 3, {"a": 1, "b": 1, "c": 1}, id="members are spread"),
    pytest.param({"a": 2, "b": 8}, 6, {"b": 6}, id="the emptier node catches up first"),
    pytest.param({"a": 2, "b": 8}, 8, {"a": 1, "b": 7}, id="then they take turns, by name"),
]


@pytest.mark.parametrize(("free", "wanted", "expected"), LEAST_LOADED)
def test_least_loaded(free: dict[str, int], wanted: int, expected: dict[str, int]) -> None:
    assert chosen(Strategy.LEAST_LOADED, free, wanted) == expected


def test_least_loaded_spreads_members_without_gpus_by_cpu() -> None:
    capacity = Capacity()
    capacity.upsert_node(planner_node("a"))
    capacity.upsert_node(planner_node("b"))
    capacity.take("a", "other", {"cpu": 10_000})
    plan = planned(capacity.freeze(), gang("g", members(1, gpus=0)), policy=Policy(strategy=Strategy.LEAST_LOADED))
    assert spots(plan.reservations[0]) == {"b": 1}


COST = [
    pytest.param(2, {"b": 2}, id="cheap nodes take what they can"),
    pytest.param(10, {"a": 1, "b": 8, "c": 1}, id="the rest is spread over the others"),
]


@pytest.mark.parametrize(("wanted", "expected"), COST)
def test_cost_optimized(wanted: int, expected: dict[str, int]) -> None:
    assert chosen(Strategy.COST_OPTIMIZED, {"a": 8, "b": 8, "c": 8}, wanted, cheap=("b",)) == expected


def test_random_is_repeatable_and_depends_on_the_seed() -> None:
    free = {f"n{number}": 8 for number in range(20)}
    draws = [chosen(Strategy.RANDOM, free, 3, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert sum(chosen(Strategy.RANDOM, free, 150).values()) == 150


SCORES = [
    pytest.param(Strategy.BINPACK, [10, 6, 1, 0], id="binpack likes the fullest that still takes it"),
    pytest.param(Strategy.LEAST_LOADED, [0, 3, 8, 0], id="leastLoaded likes the emptiest"),
    pytest.param(Strategy.COST_OPTIMIZED, [0, 6, 4, 0], id="costOptimized likes the cheap one first"),
]


@pytest.mark.parametrize(("strategy", "expected"), SCORES)
def test_scores(strategy: Strategy, expected: list[int]) -> None:
    names, free, allocatable = ["full", "cheap", "empty", "none"], [1, 4, 8, 0], [8, 8, 8, 0]
    assert score_nodes(strategy, names, free, allocatable, 1, cheap={"cheap"}) == expected


def test_random_scores_are_repeatable_and_in_range() -> None:
    names = [f"n{number}" for number in range(50)]
    rooms = [8] * 50
    first = score_nodes(Strategy.RANDOM, names, rooms, rooms, 1, seed="pod")
    assert first == score_nodes(Strategy.RANDOM, names, rooms, rooms, 1, seed="pod")
    assert first != score_nodes(Strategy.RANDOM, names, rooms, rooms, 1, seed="another")
    assert set(first) <= set(range(11))


def test_a_node_overdrawn_or_too_small_scores_nothing() -> None:
    assert score_nodes(Strategy.LEAST_LOADED, ["a", "b"], [-3, 1], [8, 8], 2) == [0, 0]


def test_what_the_extender_imports_needs_no_numpy() -> None:
    code = "import sys, muster_planner.scoring, muster_planner.policy; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_gpu_resource_counts_as_one_when_configured() -> None:
    policy = Policy(gpu_resources=(GPU, "amd.com/gpu"))
    snapshot = cluster([planner_node("a"), planner_node("b", gpus=0)])
    assert spots(planned(snapshot, gang("g", members(1)), policy=policy).reservations[0]) == {"a": 1}
