"""Saying which resource is short, by how much, and whether the nodes could hold the gang if they were empty."""

from __future__ import annotations

import numpy as np

from muster_api.reasons import Reason
from muster_planner.constraints import eligible, lasting_match
from muster_planner.placement import Attempt, fits, usable
from muster_planner.request import GangRequest, MemberGroup
from muster_planner.snapshot import Amounts, Mask, Snapshot
from muster_planner.verdict import Verdict
from muster_planner.wording import amount, asked_for, members_text, nodes_text, number, rank


def required(request: GangRequest, position: int) -> int:
    """How many of a group's members the gang cannot start without, even with everyone of the other groups."""
    return max(0, request.minimum - request.members + request.groups[position].count)


def explain_never(snapshot: Snapshot, request: GangRequest, order: list[int]) -> Verdict | None:
    """Why the gang would not fit on empty, healthy nodes either; None when that cannot be ruled out."""
    reachable = 0
    for position in order:
        group, wanted = request.groups[position], required(request, position)
        mask = lasting_match(snapshot.nodes, group.constraints)
        most = int(fits(snapshot, snapshot.allocatable, group, mask).sum())
        if most < wanted:
            return _never(_never_fits(snapshot, group, mask, wanted, most))
        reachable += min(most, group.count)
    if reachable < request.minimum:
        return _never(f"{request.minimum} members are needed, the nodes that match have places for {reachable} in all")
    return _never_in_sum(snapshot, request)


def explain_now(snapshot: Snapshot, request: GangRequest, order: list[int], attempt: Attempt, now: float) -> Verdict:
    """What is missing at this moment for a gang that could fit some day."""
    if attempt.members >= request.minimum:
        return Verdict(Reason.PENDING_EVALUATION, "room was found only after others had theirs; the next cycle uses it")
    short = _short_group(snapshot, request, order, attempt, now)
    group = request.groups[short]
    mask = usable(snapshot, request, group, now)
    fitting = f"{attempt.members} of {_wanted(request)} fit: {_each(request, group)}"
    message = f"{fitting}; {_supply(snapshot, request, short, mask)}{_left_out(snapshot, group, mask)}"
    return Verdict(Reason.INSUFFICIENT_RESOURCES, message)


def _short_group(snapshot: Snapshot, request: GangRequest, order: list[int], attempt: Attempt, now: float) -> int:
    """The group to talk about: the first that lacks members the gang cannot start without, else that lacks any."""
    placed = [int(count.sum()) for count in attempt.counts]
    lacking = [position for position in order if placed[position] < required(request, position)]
    surplus = [position for position in order if placed[position] < request.groups[position].count]
    open_to_some = [p for p in surplus if usable(snapshot, request, request.groups[p], now).any()]
    return (*lacking, *open_to_some, *surplus)[0]


def _never(message: str) -> Verdict:
    return Verdict(Reason.GANG_TOO_LARGE, f"can never fit: {message}", permanent=True)


def _never_fits(snapshot: Snapshot, group: MemberGroup, mask: Mask, wanted: int, most: int) -> str:
    resource, each = _scarcest(snapshot, snapshot.allocatable, group, mask)
    offered = _positive(snapshot, snapshot.allocatable, resource, mask)
    matching = f"the {'matching node' if mask.sum() == 1 else f'{int(mask.sum())} matching nodes'}"
    if not most:
        largest = int(offered.max(initial=0))
        if largest < each:
            return f"a member needs {amount(resource, each)}, {matching} {_offer_at_most(mask, resource, largest)}"
        return f"a member needs {asked_for(group.amounts)}, no single one of {matching} has all of it"
    total = int(offered.sum())
    need = f"{members_text(wanted)} of {amount(resource, each)}"
    if total < wanted * each:
        return f"{need}, {matching} {'has' if mask.sum() == 1 else 'have'} {number(resource, total)} in all"
    return f"{need}, {matching} can hold {most} of them at most"


def _offer_at_most(mask: Mask, resource: str, largest: int) -> str:
    if mask.sum() == 1:
        return f"has {number(resource, largest)}"
    return f"have {number(resource, largest)} each at most"


def _never_in_sum(snapshot: Snapshot, request: GangRequest) -> Verdict | None:
    """The members all together against all matching nodes together, resource by resource."""
    union = np.zeros(len(snapshot.nodes), dtype=np.bool_)
    for group in request.groups:
        union |= lasting_match(snapshot.nodes, group.constraints)
    for resource in sorted({name for group in request.groups for name, _ in group.amounts}, key=rank):
        need = _need(request, resource)
        total = int(_positive(snapshot, snapshot.allocatable, resource, union).sum())
        if need > total:
            return _never(
                f"its {members_text(request.minimum)} need {amount(resource, need)} in all, "
                f"the {nodes_text(int(union.sum()))} that match have {number(resource, total)}"
            )
    return None


def _need(request: GangRequest, resource: str) -> int:
    """What the gang's minimum asks for together, when the least demanding members are the ones that start."""
    need, left = 0, request.minimum
    for each, count in sorted((dict(group.amounts).get(resource, 0), group.count) for group in request.groups):
        need += each * min(count, left)
        left -= min(count, left)
    return need


def _wanted(request: GangRequest) -> str:
    if request.minimum == request.members:
        return members_text(request.members)
    return f"the {request.minimum} needed (of {members_text(request.members)})"


def _each(request: GangRequest, group: MemberGroup) -> str:
    words = asked_for(group.amounts)
    return f"each needs {words}" if len(request.groups) == 1 else f"{group.count} of them need {words} each"


def _supply(snapshot: Snapshot, request: GangRequest, short: int, mask: Mask) -> str:
    """What is free of the scarcest resource, and why that is not enough."""
    group = request.groups[short]
    resource, each = _scarcest(snapshot, snapshot.free, group, mask)
    free = _positive(snapshot, snapshot.free, resource, mask)
    offered = _positive(snapshot, snapshot.allocatable, resource, mask)
    total = int(free.sum())
    matching = "1 matching node" if mask.sum() == 1 else f"{int(mask.sum())} matching nodes"
    supply = f"{number(resource, total)} of {amount(resource, int(offered.sum()))} are free on {matching}"
    wanted = max(1, required(request, short))
    need = wanted * each
    if all(other.constraints == group.constraints for other in request.groups):
        need = max(need, _need(request, resource))
    if need > total:
        return f"{supply}; short by {amount(resource, need - total)}"
    return f"{supply}, {_why_enough_is_not(snapshot, group, mask, wanted, free // each, _at_most(free, resource))}"


def _why_enough_is_not(
    snapshot: Snapshot, group: MemberGroup, mask: Mask, wanted: int, places: Amounts, at_most: str
) -> str:
    if int(np.minimum(places, group.count).sum()) < wanted:
        return f"enough in sum but fragmented: {at_most}"
    if int(np.minimum(fits(snapshot, snapshot.free, group, mask), group.count).sum()) < wanted:
        return "enough in sum but not on nodes that also have the rest of what a member needs"
    return "enough for these alone but not beside the gang's other members"


def _at_most(free: Amounts, resource: str) -> str:
    return f"at most {amount(resource, int(free.max(initial=0)))} on one node"


def _left_out(snapshot: Snapshot, group: MemberGroup, mask: Mask) -> str:
    """Nodes that would match but for their health or this gang's past."""
    well = eligible(snapshot, group.constraints)
    unwell = int(lasting_match(snapshot.nodes, group.constraints).sum()) - int(well.sum())
    avoided = int(well.sum()) - int(mask.sum())
    parts = []
    if unwell:
        parts.append(f"; {unwell} more match but {'is' if unwell == 1 else 'are'} cordoned or not ready")
    if avoided:
        parts.append(f"; {avoided} more left out for now because earlier attempts failed there")
    return "".join(parts)


def _scarcest(snapshot: Snapshot, table: Amounts, group: MemberGroup, mask: Mask) -> tuple[str, int]:
    """The resource that by itself leaves room for the fewest members, and how much of it one needs."""
    places = []
    for resource, each in group.amounts:
        amounts = _positive(snapshot, table, resource, mask)
        places.append((int(np.minimum(amounts // each, group.count).sum()), rank(resource), each))
    _, (_, resource), each = min(places)
    return resource, each


def _positive(snapshot: Snapshot, table: Amounts, resource: str, mask: Mask) -> Amounts:
    column = snapshot.column(resource)
    if column is None:
        return np.zeros(int(mask.sum()), dtype=np.int64)
    positive: Amounts = np.maximum(table[mask, column], 0)
    return positive
