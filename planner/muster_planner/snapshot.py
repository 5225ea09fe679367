"""The cluster's room at one moment, immutable, so that a what-if costs a copy of a small table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from muster_api.objects import Node, Taint
from muster_planner.reservation import Reservation

Amounts: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What decides whether a member may go to a node at all, room aside."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    cordoned: bool
    ready: bool

    @classmethod
    def of(cls, node: Node) -> NodeFacts:
        """The facts of a node object."""
        return cls(node.metadata.name, node.metadata.labels, node.spec.taints, node.spec.unschedulable, node.is_ready)


@dataclass(frozen=True, eq=False)
class NodeTable:
    """The nodes in the order of their names; shared by all snapshots between two changes of any node's facts.

    It carries a memory of the masks worked out for it, which never changes an answer.
    """

    facts: tuple[NodeFacts, ...]
    names: tuple[str, ...] = field(init=False)
    index: Mapping[str, int] = field(init=False)
    masks: dict[str, Mask] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.facts, key=lambda fact: fact.name))
        object.__setattr__(self, "facts", ordered)
        object.__setattr__(self, "names", tuple(fact.name for fact in ordered))
        object.__setattr__(self, "index", {fact.name: row for row, fact in enumerate(ordered)})

    def __len__(self) -> int:
        return len(self.facts)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Free and allocatable amounts, one row per node and one column per resource.

    Free may be negative where others have put more on a node than it offers; that means no room.
    """

    nodes: NodeTable
    resources: tuple[str, ...]
    allocatable: Amounts
    free: Amounts

    def __post_init__(self) -> None:
        self.allocatable.flags.writeable = False
        self.free.flags.writeable = False

    def column(self, resource: str) -> int | None:
        """The column of a resource; None when no node and no taker has ever named it."""
        try:
            return self.resources.index(resource)
        except ValueError:
            return None

    def with_gang(self, reservation: Reservation) -> Snapshot:
        """The same moment with this gang's room taken."""
        return self._changed(reservation, -1)

    def without_gang(self, reservation: Reservation) -> Snapshot:
        """The same moment with this gang's room given back."""
        return self._changed(reservation, 1)

    def _changed(self, reservation: Reservation, sign: int) -> Snapshot:
        free = self.free.copy()
        for group in reservation.groups:
            for resource, amount in group.amounts:
                column = self.column(resource)
                if column is None:
                    continue
                for run in group.runs:
                    row = self.nodes.index.get(run.node)
                    if row is not None:
                        free[row, column] += sign * amount * run.count
        return replace(self, free=free)


def snapshot_of(nodes: Iterable[Node]) -> Snapshot:
    """An empty cluster of these nodes: for what-ifs and tests."""
    from muster_planner.capacity import Capacity

    capacity = Capacity()
    for node in nodes:
        capacity.upsert_node(node)
    return capacity.freeze()
