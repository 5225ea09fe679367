"""Gangs after the commit: forward until all are bound, then what becomes of members lost, replaced and ended."""

from __future__ import annotations

from collections.abc import Mapping

from muster_api.gangs import Abort
from muster_api.phases import GangPhase
from muster_api.plans import Placement
from muster_api.reasons import Reason
from muster_queue.controller import statuses
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.releasing import place_failure
from muster_queue.controller.roster import Roster
from muster_queue.controller.slots import Seating
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import Decision, DeleteGang, EvictMembers, Move, SendTickets
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView, is_short
from muster_queue.controller.waiting import is_plain

EVICTION_RETRY = 2.0


def decide_committed(view: GangView, patience: Patience, now: float) -> Decision:
    """Wait for the bindings; all there, or enough there and time is up: Running. Too few after that: broken."""
    # Bindings may be on their way that the watch has not told of: nobody lives only once time is up.
    ending = _ending(view) or _abandoned(view, patience.repair, now)
    if ending is not None:
        return ending
    seating = view.seating()
    roster = view.roster
    waits = any(member.stage is not Stage.BOUND for member in seating.standing.values())
    enough = roster.bound + roster.done >= view.minimum
    left = view.timing.progressed + patience.repair - now
    if enough and (not waits or left <= 0):
        return Decision(step=_run(view, seating))
    report = Report(Reason.BINDING, _bound_text(view), len(roster.counted), roster.bound, roster.done)
    if left > 0:
        return Decision(report=report, recheck_after=left)
    if _is_stuck(view, seating):
        return _broken(view, report)
    return Decision(report=report, recheck_after=patience.repair)


def decide_running(view: GangView, patience: Patience, now: float) -> Decision:
    """Give replacements a slot of their own, give back what nobody needs, and notice when too few are left."""
    ending = _ending(view) or _abandoned(view, patience.trim, now)
    if ending is not None:
        return ending
    report = _running_report(view)
    if _is_broken(view, patience, now) and not _keeps_broken(view.roster):
        return _broken(view, report)
    seating = view.seating()
    if seating.to_send and view.is_ours:
        return Decision(step=SendTickets(seating.to_send, None))
    failed = _failed_places(view, seating, patience, now)
    if failed:
        lessons = {seating.standing[slot].uid: abort for slot, abort in failed.items()}
        return Decision(step=_trim(view, {slot: view.plan[slot] for slot in failed}, report), lessons=lessons)
    wanted = tuple(member for member in _without_slot(seating, view) if not member.foreign_gate)
    idle = _idle_slots(view, seating, is_wanted=bool(wanted))
    if idle and (wanted or now - view.timing.progressed >= patience.trim):
        return Decision(step=_trim(view, idle, report))
    if _is_broken(view, patience, now):
        return _broken(view, report, wanted)
    if view.timing.broken_since is not None:
        left = view.timing.broken_since + patience.repair - now
        return Decision(report=report, wanted=wanted, is_growth=True, recheck_after=left)
    recheck = patience.trim if idle or view.timing.refused_since else None
    return Decision(report=report, wanted=wanted, is_growth=True, recheck_after=recheck)


def decide_evicting(view: GangView, patience: Patience, now: float) -> Decision:
    """Evict every pod of the epoch; when none exists any more the gang begins anew, or ends with its label."""
    left = view.of_this_epoch()
    if left:
        asked = tuple(member for member in left if not member.deleting)
        text = f"{len(left)} pods of epoch {view.gang.status.epoch} still exist"
        report = Report(_evicting_reason(view), text, len(view.roster.counted), view.roster.bound)
        step = EvictMembers(asked) if asked else None
        return Decision(step=step, report=report, recheck_after=EVICTION_RETRY)
    if not view.roster.has_pods and is_plain(view.gang):
        return Decision(step=DeleteGang("every pod was evicted"))
    status = statuses.pending_after_eviction(view.gang.status, view.term)
    report = Report(_evicting_reason(view), "every pod of the last try is gone", len(view.roster.counted), 0)
    return Decision(step=Move(statuses.with_report(status, report, view.time), "reset"))


def _is_stuck(view: GangView, seating: Seating) -> bool:
    """Whether waiting for the bindings is in vain; where all is well the extender binds as soon as it is back."""
    roster = view.roster
    if roster.bound or roster.done or view.unfit or view.timing.refused_since:
        return True
    return len(seating.standing) < view.minimum


def _ending(view: GangView) -> Decision | None:
    """Nobody left, or nobody left running."""
    roster = view.roster
    if not roster.has_pods:
        return Decision(step=DeleteGang("no pod carries its label")) if is_plain(view.gang) else None
    if roster.has_live or not (roster.ended or roster.past):
        return None
    if roster.going:
        return Decision(report=_running_report(view))
    if is_plain(view.gang) and not (roster.ended or roster.done):
        return Decision(step=DeleteGang("no pod of its last try is left"))
    return Decision(step=_end(view))


def _abandoned(view: GangView, wait: float, now: float) -> Decision | None:
    """A gang that was replaced as a whole starts again as a whole, once its old pods are gone."""
    since = view.timing.abandoned_since
    if since is None:
        return None
    present = len(view.roster.counted)
    going = view.taking_part(view.roster.going)
    if going:
        text = f"{len(going)} pods of its last run are still being deleted, first {going[0].name}; then it starts anew"
        return Decision(report=Report(Reason.MEMBER_DELETED, text, present, 0))
    report = Report(Reason.MEMBER_DELETED, "no member of its last run is left; it starts anew", present, 0)
    left = since + wait - now
    if left > 0:
        return Decision(report=report, recheck_after=left)
    if is_plain(view.gang):
        return Decision(step=DeleteGang("its label is used again"))
    status = statuses.evicting(view.gang.status, Reason.MEMBER_DELETED)
    return Decision(step=Move(statuses.with_report(status, report, view.time), "evict"))


def _end(view: GangView) -> Move:
    failed = _failed_unreplaced(view)
    phase = GangPhase.FAILED if failed else GangPhase.SUCCEEDED
    reason = Reason.MEMBER_FAILED if failed else Reason.FINISHED
    text = f"{len(failed)} members failed, first {failed[0].name}" if failed else "all members have succeeded"
    report = Report(reason, text, 0, 0)
    return Move(statuses.with_report(statuses.ended(view.gang.status, phase), report, view.time), "end")


def _failed_unreplaced(view: GangView) -> tuple[Member, ...]:
    """Failures count unless enough others came to a good end in their place."""
    failed = tuple(member for member in view.roster.ended if member.stage is Stage.FAILED)
    return () if view.roster.done >= view.gang.spec.members else failed


def _run(view: GangView, seating: Seating) -> Move:
    """Slots that nobody has claimed by now expire; the others stay with their pods."""
    kept = {slot: place for slot, place in view.plan.items() if slot in seating.standing or slot in view.claims}
    status = statuses.running(view.gang.status, kept)
    return Move(statuses.with_report(status, _running_report(view), view.time), "run")


def _running_report(view: GangView) -> Report:
    roster = view.roster
    present, bound, done = len(roster.counted), roster.bound, roster.done
    if is_short(roster, view.minimum):
        text = f"{_bound_text(view)}; too few are left since members failed or were deleted"
        return Report(Reason.GANG_BROKEN, text, present, bound, done)
    if not bound and roster.going:
        return Report(Reason.MEMBER_DELETED, f"{len(roster.going)} members are being deleted", present, bound, done)
    if not bound:
        return Report(Reason.FINISHED, f"{len(roster.ended)} members have ended, none runs", present, bound, done)
    return Report(Reason.SCHEDULED, _bound_text(view), present, bound, done)


def _bound_text(view: GangView) -> str:
    roster = view.roster
    done = f", {roster.done} have succeeded" if roster.done else ""
    return f"{roster.bound} of {view.gang.spec.members} members are bound{done}, at least {view.minimum} are needed"


def _without_slot(seating: Seating, view: GangView) -> tuple[Member, ...]:
    """Members that have to be planned; what `seat` would give them from another leader's growth does not count."""
    if view.is_ours:
        return seating.unseated
    return (*seating.unseated, *(assignment.member for assignment in seating.to_send))


def _idle_slots(view: GangView, seating: Seating, *, is_wanted: bool) -> Mapping[int, Placement]:
    """Slots that hold nothing: nobody came for them, or their pod is gone and need not or will not be replaced."""
    existing = {member.uid for member in view.roster.everyone()}
    short = is_short(view.roster, view.minimum)
    is_open = bool(seating.to_send) and view.is_ours
    idle: dict[int, Placement] = {}
    for slot, placement in view.plan.items():
        if slot in seating.standing:
            continue
        claimant = view.claims.get(slot)
        if claimant in existing or (claimant is None and is_open):
            continue
        if is_wanted or not short:
            idle[slot] = placement
    return idle


def _failed_places(view: GangView, seating: Seating, patience: Patience, now: float) -> dict[int, Abort]:
    """Late members whose node is lost or refused: they bind alone, so each alone gets another place."""
    failed: dict[int, Abort] = {}
    for slot, member in seating.standing.items():
        if member.stage is Stage.BOUND:
            continue
        abort = place_failure(view, slot, member, patience, now)
        if abort is not None:
            failed[slot] = abort
    return failed


def _trim(view: GangView, idle: Mapping[int, Placement], report: Report) -> Move:
    kept = {slot: placement for slot, placement in view.plan.items() if slot not in idle}
    number = statuses.next_slot(view.gang, view.plan, view.claims)
    status = statuses.trimmed(view.gang.status, kept, number, view.time)
    return Move(statuses.with_report(status, report, view.time), "trim")


def _is_broken(view: GangView, patience: Patience, now: float) -> bool:
    """Whether too few are left for too long, whatever else there is to do."""
    since = view.timing.broken_since
    return since is not None and now - since >= patience.repair


def _broken(view: GangView, report: Report, wanted: tuple[Member, ...] = ()) -> Decision:
    """Time is up for a gang that is bound in part: its owner's annotation decides."""
    if _keeps_broken(view.roster):
        return _keep(view, report, wanted)
    status = statuses.evicting(view.gang.status, Reason.GANG_BROKEN)
    text = f"{_bound_text(view)}; the whole gang is evicted"
    told = Report(Reason.GANG_BROKEN, text, report.present, report.bound)
    return Decision(step=Move(statuses.with_report(status, told, view.time), "evict"))


def _keep(view: GangView, report: Report, wanted: tuple[Member, ...]) -> Decision:
    text = f"{_bound_text(view)}; kept as its owner asks"
    told = Report(Reason.GANG_BROKEN, text, report.present, report.bound)
    is_told = any(c.type == statuses.HEALTHY and c.status == "False" for c in view.gang.status.conditions)
    if is_told:
        return Decision(report=told, wanted=wanted, is_growth=True)
    status = statuses.broken(view.gang.status, text, view.time)
    if status.phase is GangPhase.COMMITTED:
        status = statuses.running(status, view.plan)
    return Decision(step=Move(statuses.with_report(status, told, view.time), "keep"))


def _keeps_broken(roster: Roster) -> bool:
    return any(member.keeps_broken for member in roster.everyone())


def _evicting_reason(view: GangView) -> Reason:
    evicting = view.gang.status.evicting
    return next((reason for reason in Reason if evicting is not None and reason == evicting.by), Reason.GANG_BROKEN)
