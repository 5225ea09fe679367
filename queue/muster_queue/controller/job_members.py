"""How the members of a job's gang do: who runs, who has failed, who is missing, and what that says of the attempt."""

from __future__ import annotations

from collections.abc import Iterable

from muster_api.jobs import FailureClass
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView
from muster_queue.jobs.failures import AttemptEnd, PodState, blame, classify
from muster_queue.jobs.views import GangFacts

_BY_ORDER = {
    Reason.PREEMPTED: FailureClass.PREEMPTED,
    Reason.NODE_LOST: FailureClass.NODE_LOST,
    Reason.GANG_BROKEN: FailureClass.BROKEN,
    Reason.MEMBER_DELETED: FailureClass.DELETED,
}


def gang_facts(view: GangView, patience: Patience, now: float) -> GangFacts:
    """What the job's own decisions rest on."""
    gang = view.gang
    state = gang.status
    running = sum(1 for member in view.roster.counted if member.state is not None and member.state.is_running)
    return GangFacts(
        phase=state.phase,
        attempt=state.attempt,
        reason=state.reason,
        message=state.message,
        committed_at=state.committed_at,
        running=running,
        size=len(view.plan) or gang.spec.members,
        end=end_of_attempt(view, patience, now),
    )


def end_of_attempt(view: GangView, patience: Patience, now: float) -> AttemptEnd | None:
    """What has ended the present attempt; None while it may still come to a good end."""
    phase = view.gang.status.phase
    if phase in (GangPhase.COMMITTED, GangPhase.RUNNING):
        return _failure(view) or _loss(view) or _hopeless(view, patience, now)
    if phase in (GangPhase.EVICTING, GangPhase.FAILED):
        return _failure(view) or _ordered_down(view)
    return None


def lost_members(view: GangView, members: Iterable[Member]) -> tuple[Member, ...]:
    """Those whose node does not answer any more."""
    lost = {place.node for place, reason in view.unfit.items() if reason is Reason.NODE_LOST}
    return tuple(member for member in members if member.node in lost)


def _failure(view: GangView) -> AttemptEnd | None:
    gang_id, epoch = view.gang.spec.id, view.gang.status.epoch
    failed = (m for m in view.roster.ended if m.stage is Stage.FAILED and m.holds(gang_id, epoch))
    ends = tuple(_end_of(member) for member in sorted(failed, key=_ordinal))
    return blame(ends) if ends else None


def _end_of(member: Member) -> AttemptEnd:
    state = member.state or PodState()
    failure = classify(state, is_deleting=member.deleting)
    code = f" with exit code {state.exit_code}" if state.exit_code is not None else ""
    details = ", ".join(text for text in (state.reason, state.disruption, state.message.strip()) if text)
    text = f"pod {member.name} failed{code}" + (f" ({details})" if details else "")
    return AttemptEnd(failure, text, state.exit_code, member.name)


def _loss(view: GangView) -> AttemptEnd | None:
    """Members that are going, or gone without having succeeded."""
    present = view.of_this_epoch()
    going = next(iter(sorted((m for m in present if m.deleting and not m.is_terminal), key=_ordinal)), None)
    if going is not None:
        return _departure(view, going)
    succeeded = sum(1 for member in view.roster.ended if member.stage is Stage.SUCCEEDED)
    gone = len(view.plan) - len(present) - len(view.awaited) - (view.roster.done - succeeded)
    if gone <= 0:
        return None
    return AttemptEnd(FailureClass.DELETED, f"{gone} of {len(view.plan)} pods were deleted")


def _departure(view: GangView, member: Member) -> AttemptEnd:
    state = member.state or PodState()
    if lost_members(view, (member,)):
        return AttemptEnd(
            FailureClass.NODE_LOST, f"node {member.node} was lost under pod {member.name}", None, member.name
        )
    if state.disruption:
        failure, text = classify(state), f"pod {member.name} was disrupted: {state.disruption}"
        return AttemptEnd(failure, text, None, member.name)
    return AttemptEnd(FailureClass.DELETED, f"pod {member.name} was deleted", None, member.name)


def _hopeless(view: GangView, patience: Patience, now: float) -> AttemptEnd | None:
    """Nobody has failed, and yet it cannot go on."""
    timing = view.timing
    if timing.node_lost_since is not None and now - timing.node_lost_since >= patience.lost_node:
        return AttemptEnd(FailureClass.NODE_LOST, f"node {view.lost_nodes[0]} does not answer")
    if timing.image_missing_since is not None and now - timing.image_missing_since >= patience.image:
        return _missing_image(view)
    is_committed = view.gang.status.phase is GangPhase.COMMITTED
    if is_committed and now - timing.progressed >= patience.repair:
        text = f"only {view.roster.bound} of {len(view.plan)} members could be bound within {patience.repair:.0f} s"
        return AttemptEnd(FailureClass.BROKEN, text)
    return None


def _missing_image(view: GangView) -> AttemptEnd | None:
    for member in sorted(view.roster.counted, key=_ordinal):
        if member.state is not None and member.state.image_problem:
            details = f"{member.state.image_problem}: {member.state.message}".rstrip(": ")
            return AttemptEnd(FailureClass.IMAGE, f"pod {member.name} has no image ({details})", None, member.name)
    return None


def _ordered_down(view: GangView) -> AttemptEnd:
    """The gang came down without its job having said so."""
    status = view.gang.status
    said = status.evicting.by if status.evicting is not None else status.reason
    known = next((reason for reason in _BY_ORDER if reason == said), Reason.GANG_BROKEN)
    return AttemptEnd(_BY_ORDER[known], status.message or f"the gang was taken down: {said}")


def _ordinal(member: Member) -> tuple[int, str]:
    return (member.ticket.slot if member.ticket is not None else -1), member.name
