"""What is kept of each node: what it offers, and whether a gang may be committed to it."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from muster_api.objects import Node
from muster_api.quantities import QuantityError, resource_units

CHEAP_LABEL = "gpu-orchestrator/cheap-node"


class NodeRecord(msgspec.Struct, frozen=True, gc=False):
    name: str
    allocatable: dict[str, int]
    is_usable: bool
    """Ready, not being deleted and not cordoned."""
    is_cheap: bool


def record_of(node: Node, resources: Collection[str]) -> NodeRecord:
    """Reads a node; an amount that cannot be read counts as nothing."""
    return NodeRecord(
        name=node.metadata.name,
        allocatable={resource: _amount(node, resource) for resource in resources},
        is_usable=node.is_ready and not node.spec.unschedulable,
        is_cheap=node.metadata.labels.get(CHEAP_LABEL) == "true",
    )


def _amount(node: Node, resource: str) -> int:
    try:
        return resource_units(resource, node.status.allocatable.get(resource, "0"))
    except QuantityError:
        return 0
