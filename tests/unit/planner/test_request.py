"""Pods become groups of members that are alike, in the same order every time."""

from __future__ import annotations

from muster_api.names import BIND_MARKER, MEMBER_MARKER
from muster_api.objects import (
    Affinity,
    Container,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Requirement,
    ResourceRequirements,
    Toleration,
)
from muster_planner.request import Constraints, constraints_of, group_members

PIN = NodeSelector(
    node_selector_terms=(
        NodeSelectorTerm(match_fields=(Requirement(key="metadata.name", operator="In", values=("n1",)),)),
    )
)


def pod(gpus: int = 1, selector: dict[str, str] | None = None) -> Pod:
    requests = {"nvidia.com/gpu": str(gpus), MEMBER_MARKER: "0", BIND_MARKER: "0"}
    container = Container(resources=ResourceRequirements(requests=requests))
    return Pod(spec=PodSpec(containers=(container,), node_selector=selector or {}))


def test_equal_pods_make_one_group() -> None:
    (group,) = group_members([pod(), pod(), pod()])
    assert group.count == 3


def test_markers_are_no_resource_that_a_node_must_have() -> None:
    (group,) = group_members([pod(2)])
    assert group.amounts == (("nvidia.com/gpu", 2), ("pods", 1))


def test_groups_do_not_depend_on_the_order_of_pods() -> None:
    pods = [pod(1), pod(2), pod(1, {"zone": "a"}), pod(2)]
    assert group_members(pods) == group_members(pods[::-1])
    assert sorted(group.count for group in group_members(pods)) == [1, 1, 2]


def test_constraints_are_equal_when_everything_they_cover_is() -> None:
    assert constraints_of(pod(1, {"a": "1", "b": "2"})) == constraints_of(pod(2, {"b": "2", "a": "1"}))
    assert constraints_of(pod(1, {"a": "1"})) != constraints_of(pod(1, {"a": "2"}))
    assert Constraints(tolerations=(Toleration(key="a"),)) != Constraints()


def test_required_affinity_is_taken_over() -> None:
    spec = PodSpec(affinity=Affinity(node_affinity=NodeAffinity(required=PIN)))
    assert constraints_of(Pod(spec=spec)).affinity == PIN
    assert constraints_of(Pod(spec=PodSpec(affinity=Affinity()))).affinity is None
