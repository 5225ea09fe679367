"""How the extender ranks nodes for pods that no plan has placed, by the same strategies and without numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Final

from muster_planner.policy import Strategy

HIGHEST_SCORE: Final = 10
"""What kube-scheduler expects of an extender at most."""


def score_nodes(
    strategy: Strategy,
    names: Sequence[str],
    free: Sequence[int],
    allocatable: Sequence[int],
    demand: int,
    *,
    cheap: Collection[str] = (),
    seed: str = "",
) -> list[int]:
    """A score from 0 to 10 per node, in the order given; amounts are of one resource, the GPU the pod asks for.

    `cheap` names the nodes that costOptimized prefers; `seed` (the pod's uid) makes random repeatable.
    """
    if strategy is Strategy.RANDOM:
        return [_drawn(seed, name) for name in names]
    spread = strategy is not Strategy.BINPACK
    scores = [_share(left, offered, demand, spread) for left, offered in zip(free, allocatable, strict=True)]
    if strategy is Strategy.COST_OPTIMIZED:
        return [
            score // 2 + (HIGHEST_SCORE // 2 if name in cheap else 0) for name, score in zip(names, scores, strict=True)
        ]
    return scores


def _share(free: int, allocatable: int, demand: int, spread: bool) -> int:
    left = free - demand
    if allocatable <= 0 or left < 0:
        return 0
    amount = min(left, allocatable) if spread else allocatable - min(left, allocatable)
    return HIGHEST_SCORE * amount // allocatable


def _drawn(seed: str, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) % (HIGHEST_SCORE + 1)
