"""Decides at bind what becomes of a call: bind at once, wait at the gang's barrier, or go back into the queue."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from muster_extender.admission import GangSlot, SinglePod, Unsettled, Worthless, is_ruled, judge
from muster_extender.pods import PodRecord
from muster_extender.protocol import ExtenderBindingArgs
from muster_extender.state import ClusterState

UNKNOWN_POD = "this pod is not known here yet"
OTHER_POD = "the pod of this uid has another name or namespace"
OTHER_NODE = "the scheduler chose another node than the planned one"
BOUND_ELSEWHERE = "the pod is bound to another node already"
BEING_DELETED = "the pod is being deleted"
NO_ROOM_LEFT = "the node's GPUs are all bound"
NOT_FREE = "the node's GPUs have been bound or reserved meanwhile"


class BindNow(msgspec.Struct, frozen=True, gc=False):
    """Nothing to wait for."""

    record: PodRecord


class Park(msgspec.Struct, frozen=True, gc=False):
    """Wait for the gang."""

    record: PodRecord
    slot: GangSlot


class AlreadyBound(msgspec.Struct, frozen=True, gc=False):
    """A repeated call for what has been done."""


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Back into the scheduler's queue."""

    message: str


BindRoute: TypeAlias = BindNow | Park | AlreadyBound | Refuse


def decide_bind(args: ExtenderBindingArgs, state: ClusterState) -> BindRoute:
    """The same judgement as at filter, once more: epochs may have passed since."""
    record = state.newest(args.pod_uid)
    if record is None:
        return Refuse(UNKNOWN_POD)
    if (record.namespace, record.name) != (args.pod_namespace, args.pod_name):
        return Refuse(OTHER_POD)
    if record.is_bound:
        return AlreadyBound() if record.node == args.node else Refuse(BOUND_ELSEWHERE)
    if record.is_deleting:
        return Refuse(BEING_DELETED)
    if not is_ruled(record, state):
        # Room may have been promised since filter, and nothing is promised to this pod.
        return BindNow(record) if state.has_free_room(record, args.node) else Refuse(NOT_FREE)
    return _route_managed(record, args.node, state)


def _route_managed(record: PodRecord, node: str, state: ClusterState) -> BindRoute:
    admission = judge(record, state)
    match admission:
        case Worthless(message) | Unsettled(message):
            return Refuse(message)
        case SinglePod(planned) if planned == node:
            return BindNow(record) if state.has_firm_room(record, node) else Refuse(NO_ROOM_LEFT)
        case GangSlot() if admission.node != node:
            return Refuse(OTHER_NODE)
        case GangSlot():
            return BindNow(record) if admission.is_committed else Park(record, admission)
        case _:
            return Refuse(OTHER_NODE)
