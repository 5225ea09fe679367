"""What a ticket is worth right now: the judgement that filter and bind share."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from muster_api.answers import GANG_OVER, NOT_RELEASED, SUPERSEDED
from muster_api.gangs import Fence
from muster_api.phases import COMMITTED_PHASES, HOLDING_PHASES, GangPhase
from muster_api.tickets import Ticket, single_gang
from muster_extender.gangs import GangRecord
from muster_extender.pods import PodRecord
from muster_extender.state import ClusterState

# Constant to the byte: kube-scheduler wakes a rejected pod again whenever its message changes.
NOT_SIGNED = "the release ticket is not signed by Muster for this pod"
SLOT_TAKEN = "the slot of the release ticket belongs to another pod"
SINGLE_IN_GANG = "a gang's member with the release ticket of a single pod would bind without its gang"
NO_BIND_MARKER = "a gang member without the bind marker cannot wait for its gang"
NOT_YET_KNOWN = "the reservation of the release ticket has not arrived here yet"
NOT_COVERED = "the reservation of the release ticket is not confirmed by the leader in office"


class GangSlot(msgspec.Struct, frozen=True, gc=False):
    """A slot of a gang that may go to its node."""

    gang: GangRecord
    ticket: Ticket

    @property
    def node(self) -> str:
        return self.ticket.node

    @property
    def is_committed(self) -> bool:
        """Whether it binds without waiting for the others."""
        return self.gang.phase in COMMITTED_PHASES


class SinglePod(msgspec.Struct, frozen=True, gc=False):
    """A pod without a Gang object, for which the ticket alone stands."""

    node: str


class Worthless(msgspec.Struct, frozen=True, gc=False):
    """The ticket opens nothing and never will again; a new one wakes the pod."""

    message: str


class Unsettled(msgspec.Struct, frozen=True, gc=False):
    """Nothing wakes the pod when this resolves itself, so it has to be tried again."""

    message: str


Admission: TypeAlias = GangSlot | SinglePod | Worthless | Unsettled


def is_ruled(record: PodRecord, state: ClusterState) -> bool:
    """Whether Muster says where the pod goes, as opposed to wherever room is left.

    A namespace that does not count as managed here proves nothing: our watch may be behind, or its label was taken
    away in the middle of a release. So a gang's ticket binds its pod to the barrier in any namespace, a valid one of a
    single pod to its node, and a labelled member that Muster has marked stays where it was when nothing is signed.
    """
    if record.is_native_group:
        return False
    if record.namespace in state.managed or (record.has_gang_label and record.is_held_at_bind):
        return True
    if not record.ticket:
        return False
    ticket = state.ticket_of(record)
    if ticket is None:
        return not state.verifier.has_keys
    return not ticket.is_single or isinstance(judge(record, state), SinglePod)


def judge(record: PodRecord, state: ClusterState) -> Admission:
    """Weighs the pod's ticket against Gang, fence and claims."""
    if not record.ticket:
        return Worthless(NOT_RELEASED)
    if not state.verifier.has_keys:
        return Unsettled(NOT_YET_KNOWN)
    ticket = state.ticket_of(record)
    if ticket is None:
        return Worthless(NOT_SIGNED)
    if ticket.is_single:
        return Worthless(SINGLE_IN_GANG) if record.has_gang_label else _judge_single(record, ticket, state.fence)
    return _judge_member(record, ticket, state)


def _judge_single(record: PodRecord, ticket: Ticket, fence: Fence | None) -> Admission:
    if ticket.gang != single_gang(record.uid):
        return Worthless(NOT_SIGNED)
    reservation = Fence(term=ticket.epoch.term, seq=ticket.epoch.count)
    if fence is None or reservation > fence:
        return Unsettled(NOT_YET_KNOWN)
    if not fence.covers(reservation):
        return Worthless(SUPERSEDED)
    return SinglePod(ticket.node)


def _judge_member(record: PodRecord, ticket: Ticket, state: ClusterState) -> Admission:
    gang = state.gangs.get(ticket.gang)
    if gang is None or ticket.epoch > gang.epoch:
        return Unsettled(NOT_YET_KNOWN)
    if gang.namespace != record.namespace:
        return Worthless(NOT_SIGNED)
    if ticket.epoch < gang.epoch:
        return Worthless(SUPERSEDED)
    if gang.phase is GangPhase.PENDING:
        return Unsettled(NOT_YET_KNOWN)
    if gang.phase not in HOLDING_PHASES:
        return Worthless(GANG_OVER)
    return _judge_slot(record, ticket, gang, state)


def _judge_slot(record: PodRecord, ticket: Ticket, gang: GangRecord, state: ClusterState) -> Admission:
    if not gang.is_covered(state.fence):
        # A new leader adopts or resets it without touching the pod.
        return Unsettled(NOT_COVERED)
    placement = gang.placements.get(ticket.slot)
    if placement is None:
        return Unsettled(NOT_YET_KNOWN)
    if placement.node != ticket.node:
        return Worthless(SUPERSEDED)
    claim = state.claims.holder(ticket)
    if claim is not None and claim.uid != record.uid:
        return Worthless(SLOT_TAKEN)
    slot = GangSlot(gang, ticket)
    if not record.is_held_at_bind and not slot.is_committed:
        return Worthless(NO_BIND_MARKER)
    return slot
