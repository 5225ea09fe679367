"""The cluster's room at one moment, immutable, so that a what-if costs a copy of a small table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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
    masks: dict[str, Mask] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", tuple(sorted(self.facts, key=lambda fact: fact.name)))

    def __len__(self) -> int:
        return len(self.facts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(fact.name for fact in self.facts)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Row by name."""
        return {fact.name: row for row, fact in enumerate(self.facts)}

    @cached_property
    def hard_taints(self) -> Mapping[tuple[str, str, str], Mask]:
        """Every taint that keeps pods away, as (key, value, effect), and the nodes that carry it."""
        found: dict[tuple[str, str, str], Mask] = {}
        for row, fact in enumerate(self.facts):
            for taint in fact.taints:
                if taint.effect in ("NoSchedule", "NoExecute"):
                    name = (taint.key, taint.value, taint.effect)
                    found.setdefault(name, np.zeros(len(self), dtype=np.bool_))[row] = True
        return dict(sorted(found.items()))

    @cached_property
    def name_hashes(self) -> npt.NDArray[np.uint64]:
        """A number per node that depends on its name alone, for drawing nodes repeatably."""
        digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in self.names)
        return np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)


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
