"""How much room each node has left, kept up to date with every event; the only mutable thing in the planner."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, TypeAlias

import numpy as np

from muster_api.objects import Node
from muster_api.quantities import QuantityError, resource_units
from muster_planner.request import IGNORED_RESOURCES
from muster_planner.snapshot import Amounts, NodeFacts, NodeTable, Snapshot

TakerKey: TypeAlias = Hashable
"""Who holds room: a pod's uid, or (gang id, slot) for a reserved slot without a pod."""

_LIMIT: Final = 2**62


class Capacity:
    """The node by resource table. One writer; everybody else reads frozen snapshots.

    Room is held under a key, and a key holds room once, on one node: to take again under the same key moves it, to
    give what is not held does nothing. A taker on an unknown node is remembered until that node appears.
    """

    def __init__(self) -> None:
        self._facts: dict[str, NodeFacts] = {}
        self._allocatable: dict[str, dict[str, int]] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._takers: dict[TakerKey, tuple[str, dict[str, int]]] = {}
        self._columns: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._table: NodeTable | None = None
        self._offered: Amounts = np.zeros((0, 0), dtype=np.int64)
        self._free: Amounts = np.zeros((0, 0), dtype=np.int64)

    def upsert_node(self, node: Node) -> bool:
        """Add or replace a node; whether anything that planning looks at changed."""
        raise NotImplementedError

    def remove_node(self, name: str) -> bool:
        """Forget a node, not its takers: they count again should it come back; whether it was there."""
        raise NotImplementedError

    def take(self, node: str, key: TakerKey, demand: Mapping[str, int]) -> bool:
        """Hold room on a node under a key, moving what the key held before; whether anything changed."""
        raise NotImplementedError

    def give(self, node: str, key: TakerKey) -> bool:
        """Give back what a key holds on this node; False, and nothing done, when it holds nothing there."""
        raise NotImplementedError

    def rekey(self, old: TakerKey, new: TakerKey) -> bool:
        """Hand what one key holds to another (a reserved slot to its bound pod), so it is never counted twice."""
        raise NotImplementedError

    def holder_node(self, key: TakerKey) -> str | None:
        """The node on which a key holds room."""
        raise NotImplementedError

    def freeze(self) -> Snapshot:
        """The table at this moment, immutable; a copy of a few thousand numbers."""
        raise NotImplementedError
