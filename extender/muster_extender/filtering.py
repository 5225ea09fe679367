"""Decides at filter where a pod may go: its planned node, any node with room, or nowhere yet."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from muster_extender.admission import GangSlot, SinglePod, Unsettled, Worthless, is_ruled, judge
from muster_extender.pods import PodRecord
from muster_extender.state import ClusterState

PLANNED_NODE_UNFIT = "the node planned for this pod does not fit it now"
PLANNED_ELSEWHERE = "planned on another node"
NO_ROOM = "not enough GPUs that are neither used nor reserved"


class Accept(msgspec.Struct, frozen=True, gc=False):
    """Exactly this node."""

    node: str


class Room(msgspec.Struct, frozen=True, gc=False):
    """Every node on which this much is neither used nor reserved; None where the demand cannot be read."""

    demand: dict[str, int] | None


class Reject(msgspec.Struct, frozen=True, gc=False):
    """No node; the pod sleeps until something about it changes."""

    message: str


class RetryError(msgspec.Struct, frozen=True, gc=False):
    """No answer yet; kube-scheduler tries again by itself after its back-off."""

    message: str


FilterDecision: TypeAlias = Accept | Room | Reject | RetryError


def decide_filter(record: PodRecord, state: ClusterState) -> FilterDecision:
    """Unmanaged pods and native pod groups go where room is left; a managed pod where its ticket says, or nowhere."""
    if not is_ruled(record, state):
        return Room(record.demand)
    match judge(record, state):
        case GangSlot() | SinglePod() as admitted:
            return Accept(admitted.node)
        case Worthless(message):
            return Reject(message)
        case Unsettled(message):
            return RetryError(message)
