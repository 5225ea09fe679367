"""Gangs that have their room and are on the way to the barrier: tickets, and every reason to take it all back."""

from __future__ import annotations

from collections.abc import Iterable

from muster_api.gangs import Abort
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller import statuses
from muster_queue.controller.members import Member
from muster_queue.controller.slots import Seating
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import Decision, Move, SendTickets
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView


def decide_reserved(view: GangView, patience: Patience, now: float) -> Decision:
    """Send what tickets are missing; once all are out, say so."""
    seating = view.seating()
    abort = why_abort(view, seating, patience, now)
    if abort is not None:
        return Decision(step=abort_move(view, abort))
    released = statuses.with_report(statuses.released(view.gang.status), barrier_report(view, seating), view.time)
    if seating.to_send:
        return Decision(step=SendTickets(seating.to_send, released))
    return Decision(step=Move(released, "released"))


def decide_released(view: GangView, patience: Patience, now: float) -> Decision:
    """Wait for the barrier; renew a ticket that somebody has spoilt."""
    seating = view.seating()
    abort = why_abort(view, seating, patience, now) or why_too_late(view, patience, now)
    if abort is not None:
        return Decision(step=abort_move(view, abort))
    if seating.to_send:
        return Decision(step=SendTickets(seating.to_send, None))
    return Decision(
        report=barrier_report(view, seating),
        recheck_after=recheck_release(view, seating.standing.values(), patience, now),
    )


def abort_move(view: GangView, abort: Abort) -> Move:
    """Back to Pending under a new epoch; the next plan learns from it."""
    status = statuses.aborted(view.gang.status, view.term, abort)
    report = Report(Reason(abort.reason), abort.message, len(view.roster.counted), view.roster.bound)
    return Move(statuses.with_report(status, report, view.time), "abort", abort)


def why_abort(view: GangView, seating: Seating, patience: Patience, now: float) -> Abort | None:
    """The first reason for which this reservation cannot lead to a whole gang any more."""
    if not view.is_ours:
        return Abort(reason=Reason.STALE_RESERVATION, message="reserved by a leader that has been replaced")
    if seating.seated < view.minimum:
        text = f"only {seating.seated} of {view.minimum} members are left for the places reserved"
        return Abort(reason=Reason.MEMBER_DELETED, message=text)
    return _failed_place(view, seating, patience, now)


def barrier_report(view: GangView, seating: Seating) -> Report:
    """How many are on their way."""
    text = f"{seating.seated} members have a place; they are bound together once {view.minimum} are ready"
    return Report(Reason.WAITING_AT_BARRIER, text, len(view.roster.counted), view.roster.bound)


def place_failure(view: GangView, slot: int, member: Member | None, patience: Patience, now: float) -> Abort | None:
    """Why this slot's place is no good any more: its node is lost, or kube-scheduler keeps refusing its member."""
    placement = view.plan[slot]
    reason = view.unfit.get(placement)
    if reason is not None:
        text = f"node {placement.node}, planned for a member, cannot take it any more"
        return Abort(reason=reason, node=placement.node, message=text)
    if member is None or member.uid not in view.timing.refused_since:
        return None
    if now - view.timing.refused_since[member.uid] < _refusal_limit(view, member, patience):
        return None
    text = f"kube-scheduler refuses pod {member.name} on node {placement.node}: {member.refusal}"
    return Abort(reason=Reason.PLACEMENT_REFUSED, node=placement.node, message=text)


def _failed_place(view: GangView, seating: Seating, patience: Patience, now: float) -> Abort | None:
    if not view.unfit and not view.timing.refused_since:
        return None
    seats = [*seating.standing.items(), *((sent.slot, None) for sent in seating.to_send)]
    failures = (place_failure(view, slot, member, patience, now) for slot, member in seats)
    return next((abort for abort in failures if abort is not None), None)


def _refusal_limit(view: GangView, member: Member, patience: Patience) -> float:
    """A member at the barrier keeps the condition of the try before, so an old one says nothing until time is up."""
    is_old = view.timing.old_refusals.get(member.uid) == member.refusal
    if view.gang.status.phase is GangPhase.RUNNING:
        return patience.old_refusal if is_old else patience.refusal
    if is_old:
        return _release_limit(view, patience)
    return patience.refusal + patience.release_per_member * view.gang.spec.members


def why_too_late(view: GangView, patience: Patience, now: float) -> Abort | None:
    """Time is up for a gang that should have met at the barrier."""
    limit = _release_limit(view, patience)
    if now - view.timing.progressed < limit:
        return None
    text = f"not committed within {limit:.0f} s after the last ticket"
    return Abort(reason=Reason.RELEASE_TIMEOUT, message=text)


def _release_limit(view: GangView, patience: Patience) -> float:
    return patience.release + patience.release_per_member * view.gang.spec.members


def recheck_release(view: GangView, members: Iterable[Member], patience: Patience, now: float) -> float:
    """Until the next moment at which waiting alone changes the decision."""
    moments = [view.timing.progressed + _release_limit(view, patience)]
    refused_since = view.timing.refused_since
    if refused_since:
        refused = (member for member in members if member.uid in refused_since)
        moments += [refused_since[member.uid] + _refusal_limit(view, member, patience) for member in refused]
    return max(0.05, min(moments) - now)
