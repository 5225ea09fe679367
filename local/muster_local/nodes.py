"""Simulated nodes: objects born Ready that KWOK keeps alive."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muster_api.names import GPU_RESOURCE
from muster_local.api_client import STRATEGIC_PATCH, ApiClient
from muster_local.process_node.node_object import KIND, KIND_LABEL

SIMULATED_LABEL = "type"
SIMULATED_VALUE = "kwok"
KWOK_ANNOTATION = "kwok.x-k8s.io/node"
ZONE_LABEL = "topology.kubernetes.io/zone"
RACK_LABEL = "topology.kubernetes.io/rack"
DEFAULT_PREFIX = "node"

_NODES = "/api/v1/nodes"
_SELECTOR = f"labelSelector={SIMULATED_LABEL}%3D{SIMULATED_VALUE}"


@dataclass(frozen=True)
class NodeShape:
    """What one simulated node offers; zones and racks are dealt out in turn."""

    cpu: str = "64"
    memory: str = "256Gi"
    gpus: int = 8
    pods: int = 1000
    zones: int = 2
    racks: int = 4
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def capacity(self) -> dict[str, str]:
        offered = {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods)}
        return offered | ({GPU_RESOURCE: str(self.gpus)} if self.gpus else {})


def node_object(name: str, position: int, shape: NodeShape) -> dict[str, Any]:
    """The node as its kubelet would have registered it."""
    # A rack lies in one zone: rack 0 and 2 in zone 0, rack 1 and 3 in zone 1.
    rack = position % shape.racks
    labels = {
        SIMULATED_LABEL: SIMULATED_VALUE,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        ZONE_LABEL: f"zone-{rack % shape.zones}",
        RACK_LABEL: f"rack-{rack}",
        **shape.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {KWOK_ANNOTATION: "fake"}},
        "spec": {"taints": [dict(taint) for taint in shape.taints]},
        "status": {
            "capacity": shape.capacity(),
            "allocatable": shape.capacity(),
            "conditions": [_ready()],
            "addresses": [{"type": "Hostname", "address": name}],
        },
    }


def _ready() -> dict[str, str]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "simulated",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def add_nodes(client: ApiClient, count: int, shape: NodeShape, prefix: str) -> list[str]:
    """Creates nodes prefix-0 ... that do not exist yet and answers the names of all."""
    existing = set(node_names(client))
    wanted = [f"{prefix}-{number}" for number in range(count)]
    missing = [(name, number) for number, name in enumerate(wanted) if name not in existing]
    client.for_each(lambda entry: client.create(_NODES, node_object(entry[0], entry[1], shape), exist_ok=True), missing)
    return wanted


def remove_nodes(client: ApiClient, names: Sequence[str]) -> None:
    """Deletes nodes as a machine that is taken out of a cluster."""
    client.for_each(lambda name: client.delete(f"{_NODES}/{name}"), names)


def set_unschedulable(client: ApiClient, name: str, value: bool) -> None:
    """What kubectl cordon and uncordon do."""
    client.patch(f"{_NODES}/{name}", {"spec": {"unschedulable": value}}, STRATEGIC_PATCH)


def set_ready(client: ApiClient, name: str, ready: bool) -> None:
    """Lets a node report that it works or that it has failed; KWOK leaves either as it is."""
    condition = _ready()
    if not ready:
        condition |= {"status": "False", "reason": "KubeletNotReady", "message": "simulated failure"}
    client.patch(f"{_NODES}/{name}/status", {"status": {"conditions": [condition]}}, STRATEGIC_PATCH)


def process_node_names(client: ApiClient) -> list[str]:
    """The names of the nodes whose pods are processes of this machine."""
    items = client.get(f"{_NODES}?labelSelector={KIND_LABEL.replace('/', '%2F')}%3D{KIND}")["items"]
    return [item["metadata"]["name"] for item in items]


def remove_process_nodes_except(client: ApiClient, kept: Collection[str]) -> None:
    """Forgets process nodes of earlier starts; nobody would keep them alive."""
    remove_nodes(client, [name for name in process_node_names(client) if name not in kept])


def node_names(client: ApiClient) -> list[str]:
    """The simulated nodes' names."""
    return [item["metadata"]["name"] for item in client.get(f"{_NODES}?{_SELECTOR}")["items"]]
