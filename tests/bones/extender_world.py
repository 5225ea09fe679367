"""Builders for the extender's own state: pods with tickets, gangs with plans, nodes with GPUs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from muster_api.gangs import Fence, Gang, GangSpec, GangStatus
from muster_api.names import BIND_MARKER, GANG_LABEL, GPU_RESOURCE, MANAGED_LABEL, MEMBER_MARKER, RELEASE_ANNOTATION
from muster_api.objects import Namespace, Node, ObjectMeta, Pod
from muster_api.phases import GangPhase
from muster_api.plans import PlanRun
from muster_api.tickets import Ticket, parse_epoch, sign, single_gang
from muster_extender.state import ClusterState
from muster_extender.verification import TicketVerifier

KEY = b"a key for tests"
GANG_ID = "a" * 16
NAMESPACE = "team"


def make_state(*, nodes: int = 3, gpus: int = 8, fence: Fence | None = None) -> ClusterState:
    """A state with a managed namespace "team", nodes n0, n1 ... and a fence of term 1, seq 9."""
    state = ClusterState((GPU_RESOURCE,), TicketVerifier((KEY,)))
    state.fence = fence or Fence(term=1, seq=9)
    state.observe_namespace(make_namespace(NAMESPACE))
    for number in range(nodes):
        state.observe_node(make_node(f"n{number}", gpus=gpus))
    return state


def make_namespace(name: str, *, managed: bool = True) -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name, labels={MANAGED_LABEL: "true"} if managed else {}))


def make_node(name: str, *, gpus: int = 8, ready: bool = True, **changes: Any) -> Node:
    node = {
        "metadata": {"name": name, **changes},
        "status": {
            "allocatable": {GPU_RESOURCE: str(gpus)},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
    return msgspec.convert(node, Node)


def make_pod(
    name: str,
    *,
    uid: str = "",
    namespace: str = NAMESPACE,
    gpus: int = 1,
    gang: str = "",
    ticket: str = "",
    node: str = "",
    phase: str = "Pending",
    markers: bool = True,
    deleting: bool = False,
    created: str = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> Pod:
    """A pod as the API server would send it, decoded."""
    return msgspec.convert(pod_object(**locals() | {"spec": spec}), Pod)


def pod_object(**of: Any) -> dict[str, Any]:
    """The same pod as JSON would carry it."""
    asked = {"cpu": "1"} | ({GPU_RESOURCE: str(of["gpus"])} if of["gpus"] else {})
    if of["markers"]:
        asked |= {MEMBER_MARKER: "0", BIND_MARKER: "0"}
    metadata = {
        "name": of["name"],
        "namespace": of["namespace"],
        "uid": of["uid"] or f"uid-{of['name']}",
        "creationTimestamp": of["created"],
        "labels": {GANG_LABEL: of["gang"]} if of["gang"] else {},
        "annotations": {RELEASE_ANNOTATION: of["ticket"]} if of["ticket"] else {},
    }
    if of["deleting"]:
        metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    containers = [{"name": "main", "resources": {"requests": asked, "limits": asked}}]
    spec = {"containers": containers, "nodeName": of["node"], **of["spec"]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": of["phase"]}}


def make_gang(
    phase: GangPhase = GangPhase.RELEASED,
    *,
    plan: Mapping[str, str] | None = None,
    epoch: str = "1-1",
    gang_id: str = GANG_ID,
    namespace: str = NAMESPACE,
    minimum: int = 2,
    reservation: Fence | None = None,
    shape: str = "",
) -> Gang:
    """A gang with `plan` as node to slots, by default two slots on n0."""
    runs = tuple(PlanRun(node, slots, shape) for node, slots in (plan or {"n0": "0-1"}).items())
    return Gang(
        metadata=ObjectMeta(name=f"pods-{gang_id[:4]}", namespace=namespace, resource_version="1"),
        spec=GangSpec(id=gang_id, members=minimum, min_members=minimum),
        status=GangStatus(phase=phase, epoch=epoch, reservation=reservation or Fence(term=1, seq=1), plan=runs),
    )


def make_ticket(
    slot: int,
    node: str = "n0",
    *,
    epoch: str = "1-1",
    gang_id: str = GANG_ID,
    namespace: str = NAMESPACE,
    key: bytes = KEY,
) -> str:
    return sign(key, namespace, Ticket(gang_id, parse_epoch(epoch), slot, node))


def make_single_ticket(uid: str, node: str = "n0", *, fence: str = "1-1", namespace: str = NAMESPACE) -> str:
    return sign(KEY, namespace, Ticket(single_gang(uid), parse_epoch(fence), 0, node))


def encoded_key(key: bytes = KEY) -> str:
    """A key as a Secret carries it."""
    return base64.b64encode(key).decode()
