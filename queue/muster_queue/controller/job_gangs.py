"""What to do next for the gang of a job: the same protocol, with pods that Muster makes and takes away itself.

A job's pods are born with ticket and pin, so an epoch that is taken back takes its pods with it: they are deleted, and
the gang is planned again only when all of them are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from muster_api.gangs import Abort, Gang
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller import statuses
from muster_queue.controller.job_members import lost_members
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.releasing import abort_move, place_failure, recheck_release, why_too_late
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import CreatePods, Decision, DeleteGang, DeletePods, EvictMembers, Move
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView
from muster_queue.jobs.templates import JobTemplate
from muster_queue.jobs.wants import Wants

RETRY = 2.0


def decide_job_gang(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    """The next step for a job's gang; `template` is None once the job itself is gone."""
    phase = view.gang.status.phase
    strays = _strays(view) if phase not in (GangPhase.SUCCEEDED, GangPhase.EVICTING) else ()
    if strays:
        return _clear_away(view, strays, "pods of an earlier try still exist")
    return _BY_PHASE[phase](view, wants, template, patience, now)


def speaks_differently(template: JobTemplate, gang: Gang) -> bool:
    """Whether the Gang was made for another job, or for the same one before it was changed."""
    spec = gang.spec
    job = template.job.spec
    said = (spec.members, spec.min_members, spec.priority, spec.queue, spec.cluster, spec.gpus)
    meant = (template.members, template.minimum, template.priority, job.queue, job.cluster, template.gpus_each)
    return said != meant or not is_own(gang, template)


def is_own(gang: Gang, template: JobTemplate) -> bool:
    """Whether it is this very job's, and not that of an earlier one with the same name."""
    return gang.spec.owner is not None and gang.spec.owner.uid == template.job.metadata.uid


def _decide_pending(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    if view.roster.has_pods:
        text = f"{len(view.roster.everyone())} pods of the last try are still being deleted"
        return Decision(report=Report(Reason.MEMBER_DELETED, text), recheck_after=RETRY)
    if template is None or (wants.stop is not None and not wants.again):
        return Decision(step=DeleteGang("its job needs no places any more"))
    if speaks_differently(template, view.gang):
        return Decision(step=DeleteGang("its job says something else than the gang was made from"))
    if wants.place:
        return Decision(ordered=template)
    report = Report(wants.stop.reason, wants.stop.message) if wants.stop is not None else None
    return Decision(report=report)


def _decide_releasing(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    """Reserved or Released: make the pods that are missing, and watch for every reason to take it all back."""
    abort = _why_abort(view, wants, template, patience, now)
    if abort is not None or template is None:
        return Decision(step=abort_move(view, abort or Abort(reason=Reason.JOB_DELETED, message="its job is gone")))
    standing = view.seating().standing
    missing = tuple(
        (slot, place.node)
        for slot, place in view.plan.items()
        if slot not in standing and slot not in view.claims and slot not in view.awaited
    )
    report = _barrier_report(view)
    is_first = view.gang.status.phase is GangPhase.RESERVED
    released = statuses.with_report(statuses.released(view.gang.status), report, view.time) if is_first else None
    if missing:
        return Decision(step=CreatePods(template, missing, len(view.plan), released))
    if released is not None:
        return Decision(step=Move(released, "released"))
    return Decision(report=report, recheck_after=recheck_release(view, standing.values(), patience, now))


def _decide_committed(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    """Forward only: all bound means Running; the end of the attempt is the job's to decide."""
    ending = _ending(view, wants, template)
    if ending is not None:
        return ending
    roster = view.roster
    if roster.bound + roster.done >= len(view.plan):
        report = _running_report(view)
        status = statuses.running(view.gang.status, view.plan)
        return Decision(step=Move(statuses.with_report(status, report, view.time), "run"))
    text = f"{roster.bound} of {len(view.plan)} members are bound"
    left = max(0.05, view.timing.progressed + patience.repair - now)
    return Decision(report=Report(Reason.BINDING, text, len(roster.counted), roster.bound), recheck_after=left)


def _decide_running(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    ending = _ending(view, wants, template)
    if ending is not None:
        return ending
    return Decision(report=_running_report(view), recheck_after=_next_loss(view, patience, now))


def _decide_evicting(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    """Down with all of it; pods that failed stay for their logs when no other attempt follows."""
    if template is not None and wants.stop is None:
        return Decision(recheck_after=RETRY)
    is_last = template is None or not wants.again
    everyone = view.roster.everyone()
    left = tuple(member for member in everyone if not (is_last and member.is_terminal))
    if left:
        return _take_down(view, left, patience, now)
    report = Report(_reason(view), view.gang.status.message, 0, 0)
    status = view.gang.status
    if is_last:
        return Decision(
            step=Move(statuses.with_report(statuses.ended(status, GangPhase.FAILED), report, view.time), "end")
        )
    again = statuses.another_attempt(status, view.term)
    return Decision(step=Move(statuses.with_report(again, report, view.time), "reset"))


def _decide_failed(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    """Over, unless its job is begun anew."""
    if template is None and not view.roster.has_pods:
        return Decision(step=DeleteGang("its job is gone"))
    if template is None or not wants.again or wants.stop is None:
        return Decision()
    if view.roster.has_pods:
        return _take_down(view, view.roster.everyone(), patience, now)
    report = Report(Reason.PENDING_EVALUATION, "begun anew", 0, 0)
    again = statuses.another_attempt(view.gang.status, view.term)
    return Decision(step=Move(statuses.with_report(again, report, view.time), "reset"))


def _decide_succeeded(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Decision:
    is_left_over = template is None or not is_own(view.gang, template)
    if is_left_over and not view.roster.has_pods:
        return Decision(step=DeleteGang("its job is gone"))
    return Decision()


DecideGang = Callable[[GangView, Wants, JobTemplate | None, Patience, float], Decision]

_BY_PHASE: Mapping[GangPhase, DecideGang] = {
    GangPhase.PENDING: _decide_pending,
    GangPhase.RESERVED: _decide_releasing,
    GangPhase.RELEASED: _decide_releasing,
    GangPhase.COMMITTED: _decide_committed,
    GangPhase.RUNNING: _decide_running,
    GangPhase.EVICTING: _decide_evicting,
    GangPhase.FAILED: _decide_failed,
    GangPhase.SUCCEEDED: _decide_succeeded,
}


def _strays(view: GangView) -> tuple[Member, ...]:
    """Pods that Muster made for another epoch: a leader that died may have asked for them, however late they come."""
    if view.gang.status.phase is GangPhase.FAILED:
        return ()
    gang_id, epoch = view.gang.spec.id, view.gang.status.epoch
    return tuple(
        member for member in view.roster.everyone() if not member.deleting and not member.holds(gang_id, epoch)
    )


def _clear_away(view: GangView, members: tuple[Member, ...], text: str) -> Decision:
    report = Report(Reason.MEMBER_DELETED, f"{len(members)} {text}", 0, view.gang.status.bound)
    return Decision(step=DeletePods(members), report=report, recheck_after=RETRY)


def _take_down(view: GangView, left: tuple[Member, ...], patience: Patience, now: float) -> Decision:
    """A job's own end needs nobody's leave; what others need the room for is asked of the disruption budgets."""
    text = f"{len(left)} pods of epoch {view.gang.status.epoch} still exist"
    report = Report(_reason(view), text, len(view.roster.counted), view.roster.bound)
    asked = tuple(member for member in left if not member.deleting)
    running = tuple(member for member in asked if member.stage is Stage.BOUND)
    if running and _reason(view) is Reason.PREEMPTED:
        return Decision(step=EvictMembers(running), report=report, recheck_after=RETRY)
    if asked:
        return Decision(step=DeletePods(asked), report=report, recheck_after=RETRY)
    stuck = lost_members(view, left)
    if stuck and now - view.timing.since >= patience.lost_node:
        return Decision(step=DeletePods(stuck, is_forced=True), report=report, recheck_after=RETRY)
    return Decision(report=report, recheck_after=RETRY)


def _why_abort(
    view: GangView, wants: Wants, template: JobTemplate | None, patience: Patience, now: float
) -> Abort | None:
    if not view.is_ours:
        return Abort(reason=Reason.STALE_RESERVATION, message="reserved by a leader that has been replaced")
    if wants.stop is not None:
        return Abort(reason=wants.stop.reason, message=wants.stop.message)
    if template is not None and any(place.shape != template.shape for place in view.plan.values()):
        return Abort(reason=Reason.STALE_RESERVATION, message="the job asks for something else than was reserved")
    return _spoilt(view, patience, now) or why_too_late(view, patience, now)


def _spoilt(view: GangView, patience: Patience, now: float) -> Abort | None:
    """A member lost before the commit, or a place that is no good any more."""
    standing = view.seating().standing
    alive = {member.uid for member in view.roster.counted}
    for slot in view.plan:
        if slot in view.claims and view.claims[slot] not in alive:
            return Abort(reason=Reason.MEMBER_DELETED, message=f"the pod of slot {slot} was deleted or has ended")
        failure = place_failure(view, slot, standing.get(slot), patience, now)
        if failure is not None:
            return failure
    return None


def _ending(view: GangView, wants: Wants, template: JobTemplate | None) -> Decision | None:
    """The attempt is over: well, once all have succeeded; else as soon as the job says so."""
    if template is None and not (view.roster.has_live or view.roster.going):
        return Decision(step=Move(statuses.ended(view.gang.status, GangPhase.FAILED), "end"))
    if wants.stop is not None:
        status = statuses.evicting(view.gang.status, wants.stop.reason)
        report = Report(wants.stop.reason, wants.stop.message, len(view.roster.counted), view.roster.bound)
        return Decision(step=Move(statuses.with_report(status, report, view.time), "evict"))
    roster = view.roster
    failed = any(member.stage is Stage.FAILED for member in roster.ended)
    if failed or roster.has_live or roster.done < len(view.plan):
        return None
    report = Report(Reason.FINISHED, f"all {roster.done} members have succeeded", 0, 0, roster.done)
    status = statuses.ended(view.gang.status, GangPhase.SUCCEEDED)
    return Decision(step=Move(statuses.with_report(status, report, view.time), "end"))


def _barrier_report(view: GangView) -> Report:
    text = f"{len(view.plan)} members have a place; they are bound together once {view.minimum} are ready"
    return Report(Reason.WAITING_AT_BARRIER, text, len(view.roster.counted), view.roster.bound)


def _running_report(view: GangView) -> Report:
    roster, size = view.roster, len(view.plan)
    done = f", {roster.done} have succeeded" if roster.done else ""
    text = f"{roster.bound} of {size} members are bound{done}"
    return Report(Reason.SCHEDULED, text, len(roster.counted), roster.bound, roster.done)


def _next_loss(view: GangView, patience: Patience, now: float) -> float | None:
    """Until waiting alone makes a lost node or a missing image the end of the attempt."""
    timing = view.timing
    moments = [
        since + wait
        for since, wait in ((timing.node_lost_since, patience.lost_node), (timing.image_missing_since, patience.image))
        if since is not None
    ]
    return max(0.05, min(moments) - now) if moments else None


def _reason(view: GangView) -> Reason:
    evicting = view.gang.status.evicting
    said = evicting.by if evicting is not None else view.gang.status.reason
    return next((reason for reason in Reason if reason == said), Reason.GANG_BROKEN)
