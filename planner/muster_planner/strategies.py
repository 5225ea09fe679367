"""Which of the nodes with room get the members of one group: one function per strategy, each a pure choice.

Every function answers with a count per node, never above the node's fit, and breaks its last tie by node name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from muster_planner.policy import Strategy
from muster_planner.snapshot import Amounts, Mask

_FULL: Final = np.int64(2**62)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Room:
    """What the strategies look at, one entry per node.

    `fit` is how many members of the group each node can take, `gpu_each` and `cpu_each` what one member takes, `cheap`
    the nodes that costOptimized prefers, `draw` a number per node for the random strategy.
    """

    fit: Amounts
    gpu_free: Amounts
    gpu_offered: Amounts
    gpu_each: int
    cpu_free: Amounts
    cpu_offered: Amounts
    cpu_each: int
    cheap: Mask
    draw: npt.NDArray[np.uint64]


Choice: TypeAlias = Callable[[Room, int], Amounts]


def binpack(room: Room, wanted: int) -> Amounts:
    """Fill nodes so that as few GPUs as possible are left over on those that are touched.

    1. fewest GPUs left on the node, so that whole nodes stay whole for whoever needs them
    2. most members on it, so that what has to be opened is filled, and members stay together
    3. fewest CPUs left on the node
    4. node name
    """
    counts = np.zeros_like(room.fit)
    rows = room.fit.nonzero()[0]
    fit, gpu_free, cpu_free = room.fit[rows], room.gpu_free[rows], room.cpu_free[rows]
    while wanted and fit.any():
        run = np.minimum(fit, wanted)
        positions = _tightest(gpu_free - run * room.gpu_each, run)
        each = int(run[positions[0]])
        cpu_left = cpu_free[positions] - each * room.cpu_each
        taken = positions[cpu_left.argsort(kind="stable")][: wanted // each]
        counts[rows[taken]] = each
        fit[taken] = 0
        wanted -= each * len(taken)
    return counts


def least_loaded(room: Room, wanted: int) -> Amounts:
    """Give each member to the node with the largest share of the scarce resource free, GPUs before CPUs."""
    free, offered, each = _contested(room)
    counts = np.zeros_like(room.fit)
    step = each / np.maximum(offered, 1)
    load = np.where(room.fit > 0, 1 - free / np.maximum(offered, 1), np.inf)
    for _ in range(min(wanted, int(room.fit.sum()))):
        row = int(load.argmin())
        counts[row] += 1
        load[row] = load[row] + step[row] if counts[row] < room.fit[row] else np.inf
    return counts


def drawn(room: Room, wanted: int) -> Amounts:
    """Go through the nodes in a drawn order and put one member on each, round after round."""
    counts = np.zeros_like(room.fit)
    order = np.argsort(room.draw, kind="stable")
    order = order[room.fit[order] > 0]
    while wanted and order.size:
        turn = order[:wanted]
        counts[turn] += 1
        wanted -= len(turn)
        order = order[room.fit[order] > counts[order]]
    return counts


def cost_optimized(room: Room, wanted: int) -> Amounts:
    """Spread over the cheap nodes, and over the others only what those cannot take."""
    counts = least_loaded(replace(room, fit=np.where(room.cheap, room.fit, 0)), wanted)
    rest = wanted - int(counts.sum())
    return counts + least_loaded(replace(room, fit=np.where(room.cheap, 0, room.fit)), rest)


CHOICES: Final[Mapping[Strategy, Choice]] = {
    Strategy.BINPACK: binpack,
    Strategy.LEAST_LOADED: least_loaded,
    Strategy.RANDOM: drawn,
    Strategy.COST_OPTIMIZED: cost_optimized,
}


def draw_for(name_hashes: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A number per node that depends on the node's name and the seed alone, spread evenly."""
    mixed = (name_hashes ^ np.uint64(seed)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
    return mixed ^ (mixed >> np.uint64(32))


def _tightest(gpu_left: Amounts, run: Amounts) -> Amounts:
    """Positions of all nodes that share the fewest GPUs left and, of those, the longest run."""
    open_to_some = np.where(run > 0, gpu_left, _FULL)
    positions: Amounts = (open_to_some == open_to_some.min()).nonzero()[0]
    runs = run[positions]
    longest: Amounts = positions[runs == runs.max()]
    return longest


def _contested(room: Room) -> tuple[Amounts, Amounts, int]:
    if room.gpu_each:
        return room.gpu_free, room.gpu_offered, room.gpu_each
    return room.cpu_free, room.cpu_offered, max(room.cpu_each, 1)
