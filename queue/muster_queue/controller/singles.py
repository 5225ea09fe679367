"""Single pods: gangs of one whose ticket is the whole reservation, decided as pure functions like gangs are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muster_api.gangs import Abort
from muster_api.reasons import Reason
from muster_api.tickets import single_gang
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.timing import Patience

Unfit = Callable[[str, str], Reason | None]
"""Node and shape to the reason for which a pod of that shape cannot go there now."""
Overfull = Callable[[str, str], bool]
"""Node and shape to whether more is promised there of what the shape asks for than there is."""


@dataclass(frozen=True, slots=True)
class SingleTiming:
    """Since when kube-scheduler has refused the pod with its present ticket."""

    ticket_text: str = ""
    old_refusal: str = ""
    refused_since: float | None = None


@dataclass(frozen=True, slots=True)
class SingleDecision:
    """Renew the ticket for the same node, or plan the pod, or just tell; `lesson` is why the old place failed."""

    renew_on: str = ""
    wants_place: bool = False
    lesson: Abort | None = None
    reason: Reason | None = None
    message: str = ""
    recheck_after: float | None = None


def advance_single(timing: SingleTiming | None, member: Member, now: float) -> SingleTiming:
    """Carry the clock on; a new ticket starts it anew."""
    if timing is None or timing.ticket_text != member.ticket_text:
        timing = SingleTiming(member.ticket_text, member.refusal)
    since = timing.refused_since
    if not member.refusal or member.stage is not Stage.OPEN:
        since = None
    elif since is None:
        since = now
    return SingleTiming(timing.ticket_text, timing.old_refusal, since)


def decide_single(
    member: Member,
    term: int,
    timing: SingleTiming,
    unfit: Unfit,
    is_overfull: Overfull,
    patience: Patience,
    now: float,
) -> SingleDecision:
    """What to do next for a pod without a gang label, in a managed namespace."""
    if not member.is_unbound:
        return SingleDecision()
    if member.problem is not None:
        return SingleDecision(reason=member.problem.reason, message=member.problem.message)
    if member.foreign_gate:
        text = f"held by the gate {member.foreign_gate}, which is not Muster's to remove"
        return SingleDecision(reason=Reason.FOREIGN_GATE, message=text)
    ticket = member.ticket
    if ticket is None or ticket.gang != single_gang(member.uid):
        return SingleDecision(wants_place=True)
    lost = unfit(ticket.node, member.shape)
    if lost is not None:
        text = f"node {ticket.node}, planned for the pod, cannot take it any more"
        return SingleDecision(wants_place=True, lesson=Abort(reason=lost, node=ticket.node, message=text))
    if ticket.epoch.term != term or member.stage is Stage.GATED:
        # A leader that did not know yet that it was replaced may have written the ticket: only room makes it good.
        if is_overfull(ticket.node, member.shape):
            return SingleDecision(wants_place=True)
        return SingleDecision(renew_on=ticket.node)
    return _released(member, ticket.node, timing, patience, now)


def _released(member: Member, node: str, timing: SingleTiming, patience: Patience, now: float) -> SingleDecision:
    if timing.refused_since is None:
        return SingleDecision(reason=Reason.BINDING, message=f"released for node {node}")
    limit = patience.old_refusal if timing.old_refusal == member.refusal else patience.refusal
    left = timing.refused_since + limit - now
    if left > 0:
        return SingleDecision(recheck_after=left)
    text = f"kube-scheduler refuses it on node {node}: {member.refusal}"
    return SingleDecision(wants_place=True, lesson=Abort(reason=Reason.PLACEMENT_REFUSED, node=node, message=text))
