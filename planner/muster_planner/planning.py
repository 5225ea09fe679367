"""Which gangs go next and where: whole gangs in strict order, the same plan for the same snapshot, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable

from muster_planner.policy import Policy
from muster_planner.request import GangRequest
from muster_planner.reservation import Plan
from muster_planner.snapshot import Snapshot


def plan(snapshot: Snapshot, requests: Iterable[GangRequest], policy: Policy, now: float) -> Plan:
    """Place every gang that fits, best first; explain each one that does not.

    A gang that does not fit is passed over and later ones may go. `now` is of the monotonic clock that the requests'
    lessons use; it only decides which back-offs and exclusions still hold.
    """
    raise NotImplementedError
