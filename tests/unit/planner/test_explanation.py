"""What a waiting gang is told: the dominant reason, in numbers, and whether it can ever fit."""

from __future__ import annotations

import pytest

from bones.planning import GIB, cluster, constrained, gang, members, only_explanation, planned, planner_node
from muster_api.gangs import Abort
from muster_api.objects import Node, NodeSelector, NodeSelectorTerm, Requirement, Taint
from muster_api.reasons import Reason
from muster_planner.policy import Policy
from muster_planner.request import Constraints, GangRequest, MemberGroup
from muster_planner.retry import Exclusion, Lesson

TAINTED = [Taint(key="gpu", value="yes", effect="NoSchedule")]
PRESSED = [Taint(key="node.kubernetes.io/disk-pressure", effect="NoSchedule")]


def eights(count: int) -> list[Node]:
    return [planner_node(f"n{number}") for number in range(count)]


def want(key: str, operator: str, *values: str) -> Constraints:
    term = NodeSelectorTerm(match_expressions=(Requirement(key=key, operator=operator, values=values),))
    return constrained(affinity=NodeSelector(node_selector_terms=(term,)))


SHORT = [
    pytest.param(
        members(3, gpus=4, cpu=8000),
        {"n0": 6, "n1": 4, "n2": 6},
        "1 of 3 members fit: each needs 4 nvidia.com/gpu, 8 cpu and 1Gi memory; "
        "8 of 24 nvidia.com/gpu are free on 3 matching nodes; short by 4 nvidia.com/gpu",
        id="short of GPUs in sum",
    ),
    pytest.param(
        members(3, gpus=4),
        {"n0": 4, "n1": 5, "n2": 3},
        "2 of 3 members fit: each needs 4 nvidia.com/gpu, 1 cpu and 1Gi memory; 12 of 24 nvidia.com/gpu are free on "
        "3 matching nodes, enough in sum but fragmented: at most 5 nvidia.com/gpu on one node",
        id="enough in sum but in pieces",
    ),
]


@pytest.mark.parametrize(("group", "taken", "expected"), SHORT)
def test_a_gang_that_waits_for_room_is_told(group: MemberGroup, taken: dict[str, int], expected: str) -> None:
    explanation = only_explanation(planned(cluster(eights(3), taken), gang("g", group)))
    assert explanation.message == expected
    assert (explanation.reason, explanation.permanent) == (Reason.INSUFFICIENT_RESOURCES, False)


def crowded(crowd: MemberGroup, request: GangRequest, nodes: int = 2) -> str:
    """What a gang is told that comes after a crowd."""
    first = gang("crowd", crowd, priority=100)
    return only_explanation(planned(cluster(eights(nodes)), first, request)).message


def test_the_scarcest_resource_dominates() -> None:
    told = crowded(members(2, gpus=0, cpu=60_000), gang("g", members(4, cpu=3000)))
    assert "; 8 of 128 cpu are free on 2 matching nodes; short by 4 cpu" in told


def test_memory_is_told_in_binary_units() -> None:
    told = crowded(members(2, gpus=0, memory=250 * GIB), gang("g", members(2, memory=8 * GIB)))
    assert "; 12Gi of 512Gi memory are free on 2 matching nodes; short by 4Gi memory" in told


def test_room_of_each_kind_but_not_together_is_told_so() -> None:
    nodes = [planner_node("n0", cpu=1), planner_node("n1", gpus=1)]
    snapshot = cluster([*nodes, planner_node("n2", cpu=8, gpus=4)], {"n2": 4, "n1": 1})
    told = only_explanation(planned(snapshot, gang("g", members(1, gpus=4, cpu=4000)))).message
    assert told.endswith("enough in sum but not on nodes that also have the rest of what a member needs")


def test_numbers_are_those_after_the_gangs_that_go_first() -> None:
    told = crowded(members(10), gang("g", members(8)))
    assert told.startswith("6 of 8 members fit: ")
    assert "; 6 of 16 nvidia.com/gpu are free" in told


def test_an_elastic_gang_is_told_what_it_needs_at_least() -> None:
    told = crowded(members(10), gang("g", members(20), minimum=8))
    assert told.startswith("6 of the 8 needed (of 20 members) fit: each needs 1 nvidia.com/gpu")
    assert told.endswith("short by 2 nvidia.com/gpu")


def test_a_gang_of_two_shapes_is_told_which_of_them_is_short() -> None:
    told = crowded(members(2, gpus=6), gang("g", members(1, gpus=0), members(2, gpus=4)))
    assert told.startswith("1 of 3 members fit: 2 of them need 4 nvidia.com/gpu, 1 cpu and 1Gi memory each; ")


def test_nodes_that_are_out_of_service_are_counted_beside_the_shortage() -> None:
    nodes = [planner_node("n0", gpus=4), planner_node("n1", cordoned=True), planner_node("n2", ready=False)]
    told = only_explanation(planned(cluster(nodes), gang("g", members(8)))).message
    assert told.endswith("short by 4 nvidia.com/gpu; 2 more match but are cordoned or not ready")


def test_nodes_that_the_gang_avoids_are_counted_beside_the_shortage() -> None:
    request = gang("g", members(12), taught=Lesson(excluded=(Exclusion("n0", 9.0),)))
    told = only_explanation(planned(cluster(eights(2)), request)).message
    assert told.endswith("; 1 more left out for now because earlier attempts failed there")


NEVER = [
    pytest.param(
        gang("g", members(3, gpus=8)),
        "can never fit: 3 members of 8 nvidia.com/gpu, the 2 matching nodes have 16 in all",
        id="more than the nodes have in all",
    ),
    pytest.param(
        gang("g", members(1, gpus=16)),
        "can never fit: a member needs 16 nvidia.com/gpu, the 2 matching nodes have 8 each at most",
        id="a member larger than any node",
    ),
    pytest.param(
        gang("g", members(3, gpus=5)),
        "can never fit: 3 members of 5 nvidia.com/gpu, the 2 matching nodes can hold 2 of them at most",
        id="pieces that never fit together",
    ),
    pytest.param(
        gang("g", members(2, gpus=8), members(4, gpus=4)),
        "can never fit: its 6 members need 32 nvidia.com/gpu in all, the 2 nodes that match have 16",
        id="shapes that fit alone but not together",
    ),
    pytest.param(
        gang("g", members(20), members(2, gpus=16), minimum=18),
        "can never fit: 18 members are needed, the nodes that match have places for 16 in all",
        id="an elastic gang whose minimum is out of reach",
    ),
]


@pytest.mark.parametrize(("request_", "expected"), NEVER)
def test_a_gang_that_can_never_fit_is_told_for_good(request_: GangRequest, expected: str) -> None:
    explanation = only_explanation(planned(cluster(eights(2), {"n0": 8, "n1": 8}), request_))
    assert explanation.message == expected
    assert (explanation.reason, explanation.permanent) == (Reason.GANG_TOO_LARGE, True)


def test_a_gang_that_would_fit_on_nodes_now_out_of_service_is_not_given_up() -> None:
    nodes = [planner_node("n0"), planner_node("n1", ready=False)]
    explanation = only_explanation(planned(cluster(nodes), gang("g", members(2, gpus=8))))
    assert (explanation.reason, explanation.permanent) == (Reason.INSUFFICIENT_RESOURCES, False)


NO_MATCH = [
    pytest.param(
        eights(12),
        constrained({"type": "a100"}),
        "no node matches: nodeSelector type=a100 matches 0 of 12 nodes",
        True,
        id="a selector that no node carries",
    ),
    pytest.param(
        [planner_node("a", labels={"x": "1"}), planner_node("b", labels={"y": "1"})],
        constrained({"y": "1", "x": "1"}),
        "no node matches: nodeSelector x=1,y=1 matches 0 of 2 nodes",
        True,
        id="labels that never come together",
    ),
    pytest.param(
        [planner_node("a", labels={"x": "1"})],
        constrained({"z": "1", "x": "1"}),
        "no node matches: nodeSelector z=1 matches 0 of 1 node",
        True,
        id="only the label that is missing is named",
    ),
    pytest.param(
        eights(2),
        want("zone", "In", "east", "west"),
        "no node matches: required node affinity zone In [east,west] matches 0 of 2 nodes",
        True,
        id="an affinity that no node meets",
    ),
    pytest.param(
        [planner_node(name, taints=TAINTED) for name in "abcd"],
        constrained(),
        "no node matches: taint gpu=yes:NoSchedule is not tolerated on 4",
        True,
        id="a taint",
    ),
    pytest.param(
        [planner_node("a", cordoned=True), planner_node("b", ready=False)],
        constrained(),
        "2 nodes match but are cordoned or not ready (1 cordoned, 1 not ready)",
        False,
        id="health",
    ),
    pytest.param(
        [planner_node("a", taints=PRESSED)],
        constrained(),
        "1 node matches but is cordoned or not ready (1 with taint node.kubernetes.io/disk-pressure:NoSchedule)",
        False,
        id="a condition that Kubernetes lifts by itself",
    ),
    pytest.param([], constrained(), "no node matches: the cluster has no nodes", True, id="no nodes at all"),
]


@pytest.mark.parametrize(("nodes", "where", "expected", "permanent"), NO_MATCH)
def test_a_gang_without_any_node_is_told(nodes: list[Node], where: Constraints, expected: str, permanent: bool) -> None:
    explanation = only_explanation(planned(cluster(nodes), gang("g", members(1, where=where))))
    assert explanation.message == expected
    assert (explanation.reason, explanation.permanent) == (Reason.NO_MATCHING_NODE, permanent)


def test_a_surplus_shape_that_matches_nowhere_does_not_make_the_gang_impossible() -> None:
    nowhere = members(1, where=constrained({"type": "a100"}), shape="nowhere")
    request = gang("g", members(1), nowhere, minimum=1)
    explanation = only_explanation(planned(cluster([planner_node("n0", cordoned=True)]), request))
    assert (explanation.reason, explanation.permanent) == (Reason.NO_MATCHING_NODE, False)


HELD = [
    pytest.param(gang("g", members(2), minimum=3), Reason.WAITING_FOR_MEMBERS, "2 of 3 members exist", id="incomplete"),
    pytest.param(
        gang("g", members(2), unsupported="spec.volumes"),
        Reason.UNSUPPORTED_CONSTRAINT,
        "spec.volumes is not supported for pods that Muster releases",
        id="not modelled",
    ),
    pytest.param(
        gang("g", members(11)),
        Reason.GANG_TOO_LARGE,
        "11 members have to start together; the scheduler's bind timeout allows 10 at most",
        id="beyond the barrier",
    ),
    pytest.param(
        gang("g", members(1), taught=Lesson(2, 2, 5.0, 2.5, last=Abort(reason="NodeLost", node="n1"))),
        Reason.BACKING_OFF,
        "pauses 2.5 s after 2 failed attempts; the last one: NodeLost on node n1",
        id="backing off",
    ),
    pytest.param(
        gang("g", members(1), taught=Lesson(5, 5, 5.0, 300.0, quarantined=True, last=Abort(reason="BarrierTimeout"))),
        Reason.QUARANTINED,
        "after 5 failed attempts it yields its place to others and is tried again every 300 s; "
        "the last one: BarrierTimeout",
        id="in quarantine",
    ),
    pytest.param(
        gang("g", members(1), taught=Lesson(excluded=(Exclusion("n0", 5.0),))),
        Reason.BACKING_OFF,
        "1 node matches but left out for now because earlier attempts failed there",
        id="every node avoided",
    ),
]


@pytest.mark.parametrize(("request_", "reason", "expected"), HELD)
def test_a_gang_that_is_held_back_is_told(request_: GangRequest, reason: Reason, expected: str) -> None:
    explanation = only_explanation(planned(cluster(eights(1)), request_, policy=Policy(largest_gang=10)))
    assert (explanation.reason, explanation.message) == (reason, expected)


def test_what_a_back_off_tells_does_not_change_while_it_runs() -> None:
    request = gang("g", members(1), taught=Lesson(1, 1, 9.0, 8.0))
    messages = {only_explanation(planned(cluster(eights(1)), request, now=now)).message for now in (1.0, 5.0, 8.9)}
    assert len(messages) == 1


def test_alike_gangs_get_their_own_explanation_each() -> None:
    plan = planned(cluster(eights(1)), *(gang(name, members(1, gpus=16)) for name in "cab"))
    assert [explanation.key[1] for explanation in plan.explanations] == ["a", "b", "c"]
    assert {explanation.uid for explanation in plan.explanations} == {"uid-a", "uid-b", "uid-c"}
