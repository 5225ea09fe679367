"""How much room each node has left, kept up to date with every event; the only mutable thing in the planner."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np

from muster_api.objects import Node
from muster_api.quantities import QuantityError, resource_units
from muster_planner.snapshot import Amounts, NodeFacts, NodeTable, Snapshot

TakerKey: TypeAlias = Hashable
"""Who holds room: a pod's uid, or (gang id, slot) for a reserved slot without a pod."""

_MOST_OFFERED: Final = 2**50
"""No node offers more of anything (a pebibyte, in bytes), and a sum over thousands of them stays within 64 bits."""

_LEAST_FREE: Final = -(2**62)


class Capacity:
    """The node by resource table. One writer; everybody else reads frozen snapshots.

    Room is held under a key, and a key holds room once, on one node: to take again under the same key moves it, to
    give what is not held does nothing. A taker on an unknown node is remembered until that node appears.
    """

    def __init__(self) -> None:
        self._facts: dict[str, NodeFacts] = {}
        self._offered: dict[str, dict[str, int]] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._takers: dict[TakerKey, tuple[str, dict[str, int]]] = {}
        self._columns: dict[str, int] = {}
        self._table: NodeTable | None = None
        self._allocatable: Amounts = _zeros(0, 0)
        self._free: Amounts = _zeros(0, 0)
        self._snapshot: Snapshot | None = None

    def upsert_node(self, node: Node) -> bool:
        """Add or replace a node; whether anything that planning looks at changed."""
        facts = NodeFacts.of(node)
        offered = _offer(node)
        if self._facts.get(facts.name) == facts and self._offered.get(facts.name) == offered:
            return False
        if self._facts.get(facts.name) != facts or not offered.keys() <= self._columns.keys():
            self._table = None
        self._facts[facts.name] = facts
        self._offered[facts.name] = offered
        if self._table is not None:
            self._write_row(self._table.index[facts.name], facts.name)
        self._snapshot = None
        return True

    def remove_node(self, name: str) -> bool:
        """Forget a node, not its takers: they count again should it come back; whether it was there."""
        if self._facts.pop(name, None) is None:
            return False
        del self._offered[name]
        self._table = self._snapshot = None
        return True

    def take(self, node: str, key: TakerKey, demand: Mapping[str, int]) -> bool:
        """Hold room on a node under a key, moving what the key held before; whether anything changed."""
        wanted = {resource: amount for resource, amount in demand.items() if amount > 0}
        held = self._takers.get(key)
        if held == (node, wanted):
            return False
        if held is not None:
            self._count(*held, -1)
        self._takers[key] = (node, wanted)
        self._count(node, wanted, 1)
        return True

    def give(self, node: str, key: TakerKey) -> bool:
        """Give back what a key holds on this node; False, and nothing done, when it holds nothing there."""
        if self.holder_node(key) != node:
            return False
        self._count(*self._takers.pop(key), -1)
        return True

    def rekey(self, old: TakerKey, new: TakerKey) -> bool:
        """Hand what one key holds to another (a reserved slot to its bound pod), so it is never counted twice.

        What the new key held before is given back. False, and nothing done, when the old key holds nothing.
        """
        if old == new or old not in self._takers:
            return False
        node, demand = self._takers.pop(old)
        before = self._takers.pop(new, None)
        if before is not None:
            self._count(*before, -1)
        self._takers[new] = (node, demand)
        return True

    def holder_node(self, key: TakerKey) -> str | None:
        """The node on which a key holds room."""
        held = self._takers.get(key)
        return held[0] if held else None

    def keys(self) -> Iterable[TakerKey]:
        """Everyone who holds room, to compare with what should."""
        return self._takers.keys()

    def freeze(self) -> Snapshot:
        """The table at this moment, immutable; a copy of a few thousand numbers, or the last one if nothing changed."""
        if self._snapshot is None:
            table = self._rebuild() if self._table is None else self._table
            self._snapshot = Snapshot(table, tuple(self._columns), self._allocatable.copy("K"), self._free.copy("K"))
        return self._snapshot

    def _rebuild(self) -> NodeTable:
        names = sorted(set().union(*self._offered.values()))
        self._columns = {name: column for column, name in enumerate(names)}
        table = NodeTable(tuple(self._facts.values()))
        self._allocatable = _zeros(len(table), len(self._columns))
        self._free = _zeros(len(table), len(self._columns))
        for row, name in enumerate(table.names):
            self._write_row(row, name)
        self._table = table
        return table

    def _write_row(self, row: int, name: str) -> None:
        offered, used = self._offered[name], self._used.get(name, {})
        for resource, column in self._columns.items():
            amount = offered.get(resource, 0)
            self._allocatable[row, column] = amount
            self._free[row, column] = max(_LEAST_FREE, amount - used.get(resource, 0))

    def _count(self, node: str, demand: Mapping[str, int], sign: int) -> None:
        used = self._used.setdefault(node, {})
        for resource, amount in demand.items():
            used[resource] = used.get(resource, 0) + sign * amount
            if not used[resource]:
                del used[resource]
        if not used:
            del self._used[node]
        self._refresh(node, demand)

    def _refresh(self, node: str, resources: Iterable[str]) -> None:
        self._snapshot = None
        row = None if self._table is None else self._table.index.get(node)
        if row is None:
            return
        offered, used = self._offered[node], self._used.get(node, {})
        for resource in resources:
            column = self._columns.get(resource)
            if column is not None:
                self._free[row, column] = max(_LEAST_FREE, offered.get(resource, 0) - used.get(resource, 0))


def snapshot_of(nodes: Iterable[Node]) -> Snapshot:
    """These nodes with nothing on them: for what-ifs and tests."""
    capacity = Capacity()
    for node in nodes:
        capacity.upsert_node(node)
    return capacity.freeze()


def _zeros(rows: int, columns: int) -> Amounts:
    # Column by column in memory: every question to the table is about one resource on all nodes.
    return np.zeros((rows, columns), dtype=np.int64, order="F")


def _offer(node: Node) -> dict[str, int]:
    offered: dict[str, int] = {}
    for resource, text in node.status.allocatable.items():
        try:
            amount = resource_units(resource, text)
        except QuantityError:
            continue  # what cannot be read is not offered
        if amount > 0:
            offered[resource] = min(amount, _MOST_OFFERED)
    return offered
