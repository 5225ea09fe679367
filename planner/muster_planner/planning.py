"""Which gangs go next and where: whole gangs in strict order, the same plan for the same snapshot, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from muster_planner.explanation import explain_held, explain_limit, explain_unplaced
from muster_planner.limits import Ledger, Limit, LimitKey
from muster_planner.placement import best_attempt, reservation_of
from muster_planner.policy import Policy
from muster_planner.request import GangRequest, MemberGroup, order_of
from muster_planner.reservation import Explanation, Plan, Reservation
from muster_planner.retry import excluded_nodes, next_change
from muster_planner.snapshot import Snapshot

NO_LIMITS: Final[Mapping[LimitKey, Limit]] = MappingProxyType({})

_Likeness: TypeAlias = tuple[tuple[MemberGroup, ...], int, frozenset[str]]


@dataclass(slots=True)
class _Placed:
    """What is reserved, the room after it, who got none, and whom a limit kept from being tried."""

    left: Snapshot
    reservations: list[Reservation] = field(default_factory=list)
    unplaced: list[GangRequest] = field(default_factory=list)
    limited: dict[int, Explanation] = field(default_factory=dict)


def plan(
    snapshot: Snapshot,
    requests: Iterable[GangRequest],
    policy: Policy,
    now: float,
    limits: Mapping[LimitKey, Limit] = NO_LIMITS,
) -> Plan:
    """Place every gang that fits, best first; explain each one that does not.

    A gang that does not fit is passed over and later ones may go. `now` is of the monotonic clock that the requests'
    lessons use; it only decides which back-offs and exclusions still hold.
    """
    ordered = sorted(requests, key=order_of)
    held = [explain_held(request, policy, now) for request in ordered]
    ready = [request for request, explanation in zip(ordered, held, strict=True) if explanation is None]
    placed = _place_all(snapshot, ready, policy, now, Ledger(limits))
    waiting = _explain_all(placed.left, placed.unplaced, policy, now) | placed.limited
    explanations = [explanation or waiting.get(id(request)) for request, explanation in zip(ordered, held, strict=True)]
    changes = (next_change(request.taught, now) for request in ordered)
    return Plan(
        tuple(placed.reservations),
        tuple(explanation for explanation in explanations if explanation is not None),
        retry_at=min((moment for moment in changes if moment is not None), default=None),
    )


def _place_all(
    snapshot: Snapshot, ordered: Sequence[GangRequest], policy: Policy, now: float, ledger: Ledger
) -> _Placed:
    """Room only shrinks on the way, so a gang just like one that did not fit is passed over without another look."""
    placed = _Placed(snapshot)
    hopeless: set[_Likeness] = set()
    for request in ordered:
        limited = ledger.verdict(request.charges, max(1, request.minimum))
        if limited is not None:
            placed.limited[id(request)] = explain_limit(request, limited)
            continue
        likeness = _likeness(request, now)
        bounded = request.of_at_most(ledger.most_members(request.charges, request.members))
        attempt = None if likeness in hopeless else best_attempt(placed.left, bounded, policy, now)
        if attempt is not None and attempt.members >= max(1, request.minimum):
            placed.reservations.append(reservation_of(placed.left, bounded, attempt))
            placed.left = replace(placed.left, free=attempt.free)
            ledger.take(request.charges, attempt.members)
        else:
            hopeless.add(likeness)
            placed.unplaced.append(request)
    return placed


def _explain_all(left: Snapshot, unplaced: Sequence[GangRequest], policy: Policy, now: float) -> dict[int, Explanation]:
    """Explanations by the request's identity, with the numbers as they stand once this cycle's gangs have theirs."""
    known: dict[_Likeness, Explanation] = {}
    explanations: dict[int, Explanation] = {}
    for request in unplaced:
        likeness = _likeness(request, now)
        if likeness not in known:
            known[likeness] = explain_unplaced(left, request, policy, now)
        explanations[id(request)] = replace(known[likeness], key=request.key, uid=request.uid)
    return explanations


def _likeness(request: GangRequest, now: float) -> _Likeness:
    return request.groups, request.minimum, excluded_nodes(request.taught, now)
