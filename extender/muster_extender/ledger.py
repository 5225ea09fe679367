"""Who holds which GPUs on which node: what is bound, and what is promised to pods that are not bound yet.

One writer, no I/O, and nothing is scanned to answer: each change moves the sums that it concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

import msgspec

Demand = Mapping[str, int]


class Hold(msgspec.Struct, frozen=True, gc=False):
    """What one pod or slot takes on one node; a demand of None is not known yet and fills the node up."""

    node: str
    demand: dict[str, int] | None
    is_firm: bool
    """Bound or being bound, as opposed to promised by a reservation."""


class Ledger:
    """Free GPUs per node, kept incrementally."""

    def __init__(self, resources: Collection[str]) -> None:
        self._allocatable: dict[str, dict[str, int]] = {resource: {} for resource in resources}
        self._firm: dict[str, dict[str, int]] = {resource: {} for resource in resources}
        self._free: dict[str, dict[str, int]] = {resource: {} for resource in resources}
        self._unknown: dict[str, int] = {}
        self._holds: dict[Hashable, Hold] = {}

    @property
    def holds(self) -> Mapping[Hashable, Hold]:
        return self._holds

    def set_node(self, node: str, allocatable: Mapping[str, int]) -> None:
        """What the node offers now; what is held there stays held."""
        for resource, offers in self._allocatable.items():
            change = allocatable.get(resource, 0) - offers.get(node, 0)
            offers[node] = allocatable.get(resource, 0)
            self._move(self._free, resource, node, change)

    def remove_node(self, node: str) -> None:
        """It offers nothing any more; its pods may outlive it in the API server for a while."""
        self.set_node(node, {})
        for offers in self._allocatable.values():
            offers.pop(node, None)

    def hold(self, key: Hashable, hold: Hold) -> None:
        """From now on this key takes exactly this, whatever it took before."""
        old = self._holds.get(key)
        if old == hold:
            return
        if old is not None:
            self._apply(old, -1)
        self._holds[key] = hold
        self._apply(hold, +1)

    def drop(self, key: Hashable) -> None:
        """This key takes nothing any more."""
        old = self._holds.pop(key, None)
        if old is not None:
            self._apply(old, -1)

    def free(self, node: str, resource: str) -> int:
        """Neither bound nor promised; negative when more is promised than the node has."""
        return self._free[resource].get(node, 0)

    def with_room(self, nodes: Iterable[str], demand: Demand) -> list[str]:
        """The nodes on which this much is neither bound nor promised."""
        fitting = nodes if isinstance(nodes, list) else list(nodes)
        for resource, amount in demand.items():
            free = self._free.get(resource, {})
            fitting = [node for node in fitting if free.get(node, 0) >= amount]
        if self._unknown and demand:
            fitting = [node for node in fitting if node not in self._unknown]
        return fitting

    def has_firm_room(self, node: str, demand: Demand) -> bool:
        """Whether this much is not bound yet, promised or not: whoever holds the promise may take it."""
        return all(
            self._allocatable[resource].get(node, 0) - self._firm[resource].get(node, 0) >= amount
            for resource, amount in demand.items()
        )

    def free_share(self, node: str, resources: Iterable[str]) -> float:
        """The smallest free part of what the node offers of these resources, between 0 and 1."""
        share = 1.0
        for resource in resources:
            offers = self._allocatable.get(resource, {}).get(node, 0)
            share = min(share, max(0, self.free(node, resource)) / offers if offers else 0.0)
        return share

    def _apply(self, hold: Hold, sign: int) -> None:
        if hold.demand is None:
            self._count_unknown(hold.node, sign)
            return
        for resource, amount in hold.demand.items():
            self._move(self._free, resource, hold.node, -sign * amount)
            if hold.is_firm:
                self._move(self._firm, resource, hold.node, sign * amount)

    def _count_unknown(self, node: str, sign: int) -> None:
        count = self._unknown.get(node, 0) + sign
        if count:
            self._unknown[node] = count
        else:
            del self._unknown[node]

    @staticmethod
    def _move(sums: dict[str, dict[str, int]], resource: str, node: str, change: int) -> None:
        """Adds to one sum, and forgets it at zero so that nodes that are gone leave nothing behind."""
        total = sums[resource].get(node, 0) + change
        if total:
            sums[resource][node] = total
        else:
            sums[resource].pop(node, None)
