"""Nodes and gangs for the planner's tests, with defaults: a test writes down only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from muster_api.objects import Condition, Node, NodeSelector, NodeSpec, NodeStatus, ObjectMeta, Taint, Toleration
from muster_planner.capacity import Capacity
from muster_planner.planning import plan
from muster_planner.policy import DEFAULT_POLICY, Policy
from muster_planner.request import Constraints, GangRequest, MemberGroup
from muster_planner.reservation import Explanation, Plan, Reservation
from muster_planner.retry import NOTHING_LEARNT, Lesson
from muster_planner.snapshot import Snapshot

GPU = "nvidia.com/gpu"
GIB = 2**30


def planner_node(
    name: str,
    *,
    gpus: int = 8,
    cpu: int = 64,
    memory: str = "256Gi",
    pods: int = 110,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Taint] = (),
    cordoned: bool = False,
    ready: bool = True,
) -> Node:
    amounts = {"cpu": str(cpu), "memory": memory, "pods": str(pods)}
    return Node(
        metadata=ObjectMeta(name=name, labels=dict(labels or {})),
        spec=NodeSpec(unschedulable=cordoned, taints=tuple(taints)),
        status=NodeStatus(
            allocatable={**amounts, GPU: str(gpus)} if gpus else amounts,
            conditions=(Condition(type="Ready", status="True" if ready else "False"),),
        ),
    )


def constrained(
    selector: Mapping[str, str] | None = None,
    affinity: NodeSelector | None = None,
    tolerations: Sequence[Toleration] = (),
) -> Constraints:
    return Constraints(dict(selector or {}), affinity, tuple(tolerations))


def members(
    count: int,
    *,
    gpus: int = 1,
    cpu: int = 1000,
    memory: int = GIB,
    where: Constraints | None = None,
    shape: str | None = None,
) -> MemberGroup:
    demand = {GPU: gpus, "cpu": cpu, "memory": memory, "pods": 1}
    return MemberGroup(shape or f"{gpus}g{cpu}m{memory}", demand, where or constrained(), count)


def gang(
    name: str,
    *groups: MemberGroup,
    priority: int = 50,
    created: str = "2026-11-22T07:00:00Z",
    uid: str | None = None,
    minimum: int | None = None,
    taught: Lesson = NOTHING_LEARNT,
    unsupported: str | None = None,
) -> GangRequest:
    whole = sum(group.count for group in groups)
    return GangRequest(
        ("team", name),
        uid or f"uid-{name}",
        priority,
        created,
        groups,
        whole if minimum is None else minimum,
        taught,
        unsupported,
    )


def cluster(nodes: Iterable[Node], taken: Mapping[str, int] | None = None) -> Snapshot:
    """A snapshot of these nodes, so many GPUs of each taken by others."""
    capacity = Capacity()
    for node in nodes:
        capacity.upsert_node(node)
    for name, gpus in (taken or {}).items():
        capacity.take(name, ("other", name), {GPU: gpus})
    return capacity.freeze()


def planned(snapshot: Snapshot, *requests: GangRequest, policy: Policy = DEFAULT_POLICY, now: float = 0.0) -> Plan:
    return plan(snapshot, requests, policy, now)


def spots(reservation: Reservation) -> dict[str, int]:
    """Members per node."""
    found: dict[str, int] = {}
    for _, node in reservation.places():
        found[node] = found.get(node, 0) + 1
    return found


def only_explanation(plan: Plan) -> Explanation:
    (explanation,) = plan.explanations
    return explanation
