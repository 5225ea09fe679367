"""What must hold for every cluster and every set of gangs, tried on generated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bones.plan_checker import complaints
from bones.planning import GIB, GPU, constrained, gang, members, planned, planner_node
from muster_api.objects import (
    Condition,
    Node,
    NodeSelector,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    Requirement,
    Taint,
    Toleration,
)
from muster_planner.capacity import Capacity
from muster_planner.policy import Policy, Strategy
from muster_planner.request import Constraints, GangRequest, MemberGroup
from muster_planner.snapshot import Snapshot

PRESENCE = ("Exists", "DoesNotExist")
TAINT = Taint(key="spot", value="1", effect="NoSchedule")
SOFT = Taint(key="slow", effect="PreferNoSchedule")

labels = st.fixed_dictionaries({}, optional={"zone": st.sampled_from("ab"), "cores": st.sampled_from(["8", "16", "x"])})
requirements = st.one_of(
    st.builds(Requirement, key=st.just("zone"), operator=st.sampled_from(["In", "NotIn"]), values=st.just(("a",))),
    st.builds(Requirement, key=st.sampled_from(["zone", "cores"]), operator=st.sampled_from(PRESENCE)),
    st.builds(Requirement, key=st.just("cores"), operator=st.sampled_from(["Gt", "Lt"]), values=st.just(("10",))),
)
pins = st.builds(
    Requirement, key=st.just("metadata.name"), operator=st.sampled_from(["In", "NotIn"]), values=st.just(("n1",))
)
terms = st.builds(
    NodeSelectorTerm,
    match_expressions=st.lists(requirements, max_size=2).map(tuple),
    match_fields=st.lists(pins, max_size=1).map(tuple),
)
affinities = st.builds(NodeSelector, node_selector_terms=st.lists(terms, max_size=2).map(tuple))
tolerations = st.builds(
    Toleration,
    key=st.sampled_from(["", "spot", "node.kubernetes.io/unschedulable"]),
    operator=st.just("Exists"),
    effect=st.sampled_from(["", "NoSchedule", "NoExecute"]),
)
constraint_sets = st.one_of(
    st.just(constrained()),
    st.builds(
        constrained,
        st.sampled_from([{}, {"zone": "a"}]),
        st.none() | affinities,
        st.lists(tolerations, max_size=1),
    ),
)
some_nodes = st.lists(
    st.tuples(
        st.sampled_from([0, 4, 8]),
        st.sampled_from([8, 16]),
        labels,
        st.sampled_from([(), (TAINT,), (SOFT,)]),
        st.integers(0, 9).map(lambda draw: draw == 0),
        st.integers(0, 9).map(lambda draw: draw != 0),
    ),
    min_size=1,
    max_size=8,
)
groups = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0, 1, 2, 4, 8]), st.sampled_from([0, 500, 3000]), constraint_sets),
    min_size=1,
    max_size=3,
)
gangs = st.lists(st.tuples(groups, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6)
usages = st.lists(st.integers(0, 9), min_size=8, max_size=8)
strategies = st.sampled_from(Strategy)


def build_nodes(drawn: list[tuple[int, int, dict[str, str], tuple[Taint, ...], bool, bool]]) -> list[Node]:
    return [
        planner_node(f"n{i}", gpus=gpus, cpu=cpu, pods=12, labels=marks, taints=taints, cordoned=cordoned, ready=ready)
        for i, (gpus, cpu, marks, taints, cordoned, ready) in enumerate(drawn)
    ]


def build_groups(drawn: list[tuple[int, int, int, Constraints]]) -> tuple[MemberGroup, ...]:
    return tuple(
        members(count, gpus=gpus, cpu=cpu, memory=GIB, where=where, shape=f"shape-{position}")
        for position, (count, gpus, cpu, where) in enumerate(drawn)
    )


def build_gangs(drawn: list[tuple[list[tuple[int, int, int, Constraints]], int, int, int]]) -> list[GangRequest]:
    built = []
    for number, (parts, surplus, priority, created) in enumerate(drawn):
        shapes = build_groups(parts)
        whole = sum(group.count for group in shapes)
        minimum = max(1, whole - surplus)
        built.append(
            gang(f"g{number}", *shapes, priority=priority, created=str(created), uid=f"u{number % 2}", minimum=minimum)
        )
    return built


def room(nodes: list[Node], used: Mapping[str, Mapping[str, int]]) -> Snapshot:
    capacity = Capacity()
    for name, amounts in used.items():
        capacity.take(name, name, amounts)
    for node in nodes:
        capacity.upsert_node(node)
    return capacity.freeze()


clusters = some_nodes.map(build_nodes)
requests_of_all_kinds = gangs.map(build_gangs)
used_amounts = usages.map(lambda usage: {f"n{i}": {GPU: gpus, "pods": gpus} for i, gpus in enumerate(usage)})


@settings(max_examples=150, deadline=None)
@given(clusters, used_amounts, requests_of_all_kinds, strategies)
def test_a_plan_is_sound(
    nodes: list[Node], used: Mapping[str, Mapping[str, int]], requests: list[GangRequest], strategy: Strategy
) -> None:
    plan = planned(room(nodes, used), *requests, policy=Policy(strategy=strategy))
    assert complaints(nodes, used, requests, plan) == []


@settings(max_examples=60, deadline=None)
@given(clusters, used_amounts, requests_of_all_kinds, strategies, st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(
    nodes: list[Node],
    used: Mapping[str, Mapping[str, int]],
    requests: list[GangRequest],
    strategy: Strategy,
    shuffler: Random,
) -> None:
    policy = Policy(strategy=strategy)
    expected = repr(planned(room(nodes, used), *requests, policy=policy))
    shuffler.shuffle(nodes)
    shuffler.shuffle(requests)
    assert repr(planned(room(nodes, used), *requests, policy=policy)) == expected


@settings(max_examples=60, deadline=None)
@given(clusters, used_amounts, requests_of_all_kinds, strategies)
def test_more_room_never_takes_the_first_gangs_place_away(
    nodes: list[Node], used: Mapping[str, Mapping[str, int]], requests: list[GangRequest], strategy: Strategy
) -> None:
    """Gangs of equal members: for several shapes the planner searches by rules of thumb."""
    first = replace(requests[0], groups=requests[0].groups[:1], minimum=requests[0].groups[0].count)
    policy = Policy(strategy=strategy)
    before = planned(room(nodes, used), first, policy=policy)
    after = planned(room([*nodes, planner_node("n-new", gpus=8)], used), first, policy=policy)
    assert len(after.reservations) >= len(before.reservations)


@settings(max_examples=60, deadline=None)
@given(clusters, used_amounts, requests_of_all_kinds)
def test_a_gang_called_impossible_does_not_fit_on_the_empty_cluster(
    nodes: list[Node], used: Mapping[str, Mapping[str, int]], requests: list[GangRequest]
) -> None:
    plan = planned(room(nodes, used), *requests)
    healthy = [Node(metadata=node.metadata, spec=cured(node), status=healed(node)) for node in nodes]
    by_key = {request.key: request for request in requests}
    for explanation in plan.explanations:
        if explanation.permanent:
            assert planned(room(healthy, {}), by_key[explanation.key]).reservations == ()


def cured(node: Node) -> NodeSpec:
    return NodeSpec(taints=node.spec.taints)


def healed(node: Node) -> NodeStatus:
    return NodeStatus(allocatable=node.status.allocatable, conditions=(Condition(type="Ready", status="True"),))
