"""Finding places for one gang in the room that is left, without a side effect on anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from muster_planner.constraints import eligible, label_match
from muster_planner.policy import CHEAP_NODE_LABEL, Policy, Strategy
from muster_planner.request import GangRequest, MemberGroup
from muster_planner.reservation import GroupPlacement, NodeRun, Reservation
from muster_planner.retry import excluded_nodes
from muster_planner.snapshot import Amounts, Mask, Snapshot
from muster_planner.strategies import CHOICES, Room, draw_for

_UNBOUNDED: Final = 2**31


@dataclass(frozen=True, eq=False)
class Attempt:
    """One try at a gang: members per group and node, in the request's order of groups, and what is then left free."""

    counts: tuple[Amounts, ...]
    free: Amounts
    members: int


def best_attempt(snapshot: Snapshot, request: GangRequest, policy: Policy, now: float) -> Attempt:
    """The first of a few fixed tries that places every member, else the one that places most.

    A gang of equal members needs one try, which is exact. With several shapes the order in which they are placed
    matters, and trying the likely good ones in turn costs less than a search.
    """
    masks = [usable(snapshot, request, group, now) for group in request.groups]
    nowhere = np.zeros(len(snapshot.nodes), dtype=np.int64)
    best = Attempt((nowhere,) * len(masks), snapshot.free, 0)
    members = request.members
    for order, strategy in _tries(request, masks, policy):
        attempt = _place(snapshot, request, policy, strategy, order, masks)
        if attempt.members > best.members and _is_sound(snapshot.free, attempt):
            best = attempt
        if best.members == members:
            break
    return best


def usable(snapshot: Snapshot, request: GangRequest, group: MemberGroup, now: float) -> Mask:
    """Nodes that match the group's constraints and that the gang's own past does not speak against."""
    mask = eligible(snapshot, group.constraints)
    avoided = [
        snapshot.nodes.index[name] for name in excluded_nodes(request.taught, now) if name in snapshot.nodes.index
    ]
    if avoided:
        mask = mask.copy()
        mask[avoided] = False
    return mask


def fits(snapshot: Snapshot, table: Amounts, group: MemberGroup, mask: Mask) -> Amounts:
    """How many members of the group each node could take out of a table of amounts, were there nobody else."""
    fit = np.where(mask, _UNBOUNDED, 0)
    for resource, amount in group.amounts:
        column = snapshot.column(resource)
        if column is None:
            return np.zeros_like(fit)
        np.minimum(fit, table[:, column] // amount, out=fit)
    return np.maximum(fit, 0, out=fit)


def largest_first(groups: Sequence[MemberGroup], policy: Policy) -> list[int]:
    """Positions of the groups, those with the largest members first: GPUs, then CPUs, then all they ask for."""
    return sorted(range(len(groups)), key=lambda position: _size(groups[position], policy), reverse=True)


def reservation_of(snapshot: Snapshot, request: GangRequest, attempt: Attempt) -> Reservation:
    """The attempt in names and counts; nodes of a group in the order of their names."""
    names = snapshot.nodes.names
    placements = (
        GroupPlacement(
            group.shape,
            group.amounts,
            tuple(NodeRun(names[row], int(count[row])) for row in np.flatnonzero(count).tolist()),
        )
        for group, count in zip(request.groups, attempt.counts, strict=True)
    )
    return Reservation(request.key, request.uid, tuple(placement for placement in placements if placement.runs))


def _tries(request: GangRequest, masks: Sequence[Mask], policy: Policy) -> Iterator[tuple[list[int], Strategy]]:
    chosen = request.strategy or policy.strategy
    if len(request.groups) == 1:
        yield [0], chosen
        return
    largest = largest_first(request.groups, policy)
    choosiest = sorted(largest, key=lambda position: int(masks[position].sum()))
    for strategy in dict.fromkeys((chosen, Strategy.BINPACK)):
        yield largest, strategy
        yield choosiest, strategy
        if request.minimum < request.members:
            yield largest[::-1], strategy


def _place(
    snapshot: Snapshot,
    request: GangRequest,
    policy: Policy,
    strategy: Strategy,
    order: Sequence[int],
    masks: Sequence[Mask],
) -> Attempt:
    free = snapshot.free.copy("K")
    counts: dict[int, Amounts] = {}
    for position in order:
        group = request.groups[position]
        fit = fits(snapshot, free, group, masks[position])
        room = _room(snapshot, free, group, fit, policy, strategy, request.uid)
        counts[position] = CHOICES[strategy](room, group.count)
        _take(snapshot, free, group, counts[position])
    placed = tuple(counts[position] for position in range(len(order)))
    return Attempt(placed, free, sum(int(count.sum()) for count in placed))


def _take(snapshot: Snapshot, free: Amounts, group: MemberGroup, count: Amounts) -> None:
    asked = dict(group.amounts)
    each = np.array([asked.get(resource, 0) for resource in snapshot.resources], dtype=np.int64)
    rows = count.nonzero()[0]
    free[rows] -= count[rows, np.newaxis] * each


def _is_sound(before: Amounts, attempt: Attempt) -> bool:
    """The last check, knowing nothing of how places were chosen: nothing that was taken from has gone below zero."""
    rows = np.logical_or.reduce(attempt.counts).nonzero()[0]
    after = attempt.free[rows]
    return bool((after[after != before[rows]] >= 0).all())


def _room(
    snapshot: Snapshot,
    free: Amounts,
    group: MemberGroup,
    fit: Amounts,
    policy: Policy,
    strategy: Strategy,
    uid: str,
) -> Room:
    asked = dict(group.amounts)
    gpus = [column for name in policy.gpu_resources if (column := snapshot.column(name)) is not None]
    cpus = [column for column in (snapshot.column("cpu"),) if column is not None]
    draw = np.zeros(0, dtype=np.uint64)
    if strategy is Strategy.RANDOM:
        draw = draw_for(snapshot.nodes.name_hashes, _seed(policy.seed, uid, group.shape))
    return Room(
        fit=fit,
        gpu_free=_total(free, gpus),
        gpu_offered=_total(snapshot.allocatable, gpus),
        gpu_each=sum(asked.get(name, 0) for name in policy.gpu_resources),
        cpu_free=_total(free, cpus),
        cpu_offered=_total(snapshot.allocatable, cpus),
        cpu_each=asked.get("cpu", 0),
        cheap=label_match(snapshot.nodes, CHEAP_NODE_LABEL, "true"),
        draw=draw,
    )


def _total(table: Amounts, columns: Sequence[int]) -> Amounts:
    if len(columns) == 1:
        return table[:, columns[0]]
    total: Amounts = table[:, list(columns)].sum(axis=1)
    return total


def _seed(seed: int, uid: str, shape: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{uid}\n{shape}".encode(), digest_size=8).digest())


def _size(group: MemberGroup, policy: Policy) -> tuple[int, int, int, tuple[tuple[str, int], ...], str]:
    asked = dict(group.amounts)
    gpus = sum(asked.get(name, 0) for name in policy.gpu_resources)
    return gpus, asked.get("cpu", 0), asked.get("memory", 0), group.amounts, group.shape
