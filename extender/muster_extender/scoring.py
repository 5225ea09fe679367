"""Scores nodes for pods that may choose: unmanaged GPU pods, by the strategy of the installation."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from enum import StrEnum

from muster_extender.ledger import Ledger
from muster_extender.nodes import NodeRecord
from muster_extender.protocol import HostPriority

HIGHEST_SCORE = 10
_CHEAP_FLOOR = 6
_DEAR_CEILING = 4


class Strategy(StrEnum):
    """The node choice strategies of an AIJob, by the same names."""

    BINPACK = "binpack"
    LEAST_LOADED = "leastLoaded"
    RANDOM = "random"
    COST_OPTIMIZED = "costOptimized"


def score_nodes(
    strategy: Strategy,
    names: Collection[str],
    resources: Collection[str],
    uid: str,
    ledger: Ledger,
    nodes: Mapping[str, NodeRecord],
    seed: int = 0,
) -> list[HostPriority]:
    """One score from 0 to 10 for each name, the same for the same pod and ledger."""

    def score(name: str) -> int:
        match strategy:
            case Strategy.RANDOM:
                return _drawn(seed, uid, name)
            case Strategy.BINPACK:
                return round(HIGHEST_SCORE * (1 - ledger.free_share(name, resources)))
            case Strategy.LEAST_LOADED:
                return round(HIGHEST_SCORE * ledger.free_share(name, resources))
            case Strategy.COST_OPTIMIZED:
                return _cost_score(ledger.free_share(name, resources), nodes.get(name))

    return [HostPriority(name, score(name)) for name in names]


def _drawn(seed: int, uid: str, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{uid}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % (HIGHEST_SCORE + 1)


def _cost_score(free_share: float, node: NodeRecord | None) -> int:
    """Cheap nodes before all others, the least loaded first among each kind."""
    if node is not None and node.is_cheap:
        return _CHEAP_FLOOR + round((HIGHEST_SCORE - _CHEAP_FLOOR) * free_share)
    return round(_DEAR_CEILING * free_share)
