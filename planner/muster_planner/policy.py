"""What an operator may choose about planning, as frozen values; nothing here imports numpy, so the extender can too."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from muster_api.names import GPU_RESOURCE

CHEAP_NODE_LABEL: Final = "gpu-orchestrator/cheap-node"


class Strategy(StrEnum):
    """Which of the nodes that could take a member gets it."""

    BINPACK = "binpack"
    LEAST_LOADED = "leastLoaded"
    RANDOM = "random"
    COST_OPTIMIZED = "costOptimized"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a plan is made.

    `largest_gang` is the most members that the barrier's timeouts allow; a gang that needs more is refused. `seed`
    makes the random strategy repeatable.
    """

    strategy: Strategy = Strategy.BINPACK
    gpu_resources: tuple[str, ...] = (GPU_RESOURCE,)
    largest_gang: int | None = None
    seed: int = 0


DEFAULT_POLICY: Final = Policy()
