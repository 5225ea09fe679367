"""Which nodes a member may go to at all, with exactly kube-scheduler's meaning of each field."""

from __future__ import annotations

from muster_planner.request import Constraints
from muster_planner.snapshot import Mask, Snapshot


def eligible(snapshot: Snapshot, constraints: Constraints) -> Mask:
    """One flag per node, in the snapshot's order: matches, tolerated, Ready and not cordoned. Room is not looked at."""
    raise NotImplementedError
