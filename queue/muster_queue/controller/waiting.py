"""Gangs that have no room yet, or need none any more."""

from __future__ import annotations

from muster_api.gangs import Gang
from muster_api.names import PLAIN_GANG_PREFIX
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller import statuses
from muster_queue.controller.members import Member, Stage
from muster_queue.controller.roster import Roster, first_member
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import Decision, DeleteGang, Move
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView


def is_plain(gang: Gang) -> bool:
    """Whether this Gang stands for pods that carry a label, and not for a job of ours; owners are easily forged."""
    return gang.metadata.name.startswith(PLAIN_GANG_PREFIX)


def decide_pending(view: GangView, patience: Patience, now: float) -> Decision:
    """Complete gangs want a plan, all others say what is missing."""
    roster, gang = view.roster, view.gang
    if not roster.has_pods:
        return Decision(step=DeleteGang("no pod carries its label")) if is_plain(gang) else Decision()
    if roster.bound:
        return Decision(step=_adopt(view))
    if not roster.has_live:
        return _decide_without_live(view)
    first = first_member((*roster.counted, *roster.surplus, *(member for member, _ in roster.refused)))
    if is_plain(gang) and first is not None and _speaks_differently(first, gang):
        return Decision(step=DeleteGang(f"pod {first.name} says something else than the gang was made from"))
    missing = what_is_missing(roster, view.minimum, gang.spec.members)
    if missing is not None:
        return Decision(report=missing)
    return Decision(wanted=roster.ready)


def decide_ended(view: GangView, patience: Patience, now: float) -> Decision:
    """An ended gang goes when its pods are gone, or makes way for a new one that uses its label again."""
    if not is_plain(view.gang):
        return Decision()
    if not view.roster.has_pods:
        return Decision(step=DeleteGang("no pod carries its label"))
    if view.roster.has_live:
        return Decision(step=DeleteGang("its label is used again"))
    return Decision()


def what_is_missing(roster: Roster, minimum: int, size: int) -> Report | None:
    """Why the gang cannot be planned yet; None when it can."""
    present = len(roster.counted)
    if present < minimum:
        return _too_few(roster, minimum, size)
    ready = len(roster.ready)
    if ready >= minimum:
        return None
    held = next(member for member in roster.counted if member.foreign_gate)
    text = (
        f"{ready} of {minimum} members can be released: "
        f"pod {held.name} is held by the gate {held.foreign_gate}, which is not Muster's to remove"
    )
    return Report(Reason.FOREIGN_GATE, text, present, roster.bound)


def count_text(present: int, minimum: int, size: int) -> str:
    """ "2 of 3 members exist", and for elastic gangs how many it may have."""
    more = f" (up to {size} can take part)" if size != minimum else ""
    return f"{present} of {minimum} members exist{more}"


def _too_few(roster: Roster, minimum: int, size: int) -> Report:
    present = len(roster.counted)
    text = count_text(present, minimum, size)
    if roster.refused:
        problem = roster.refused[0][1]
        return Report(problem.reason, f"{text}; {problem.message}", present)
    return Report(Reason.WAITING_FOR_MEMBERS, text, present)


def _speaks_differently(first: Member, gang: Gang) -> bool:
    spec = gang.spec
    declared = (first.size, first.minimum, first.priority, first.queue)
    return declared != (spec.members, spec.min_members, spec.priority, spec.queue)


def _adopt(view: GangView) -> Move:
    """Members were bound before this object was made: they hold their own room, and no slot of ours."""
    bound, minimum = view.roster.bound, view.minimum
    reason = Reason.SCHEDULED if bound >= minimum else Reason.GANG_BROKEN
    report = Report(reason, f"{bound} members were bound before", len(view.roster.counted), bound)
    status = statuses.running(view.gang.status, {})
    return Move(statuses.with_report(status, report, view.time), "adopt")


def _decide_without_live(view: GangView) -> Decision:
    roster = view.roster
    if roster.going:
        return Decision(report=Report(Reason.MEMBER_DELETED, f"{len(roster.going)} members are being deleted"))
    failed = sum(1 for member in roster.ended if member.stage is Stage.FAILED)
    report = Report(Reason.MEMBER_FAILED, f"{failed} of {len(roster.ended)} members failed before they were released")
    status = statuses.with_report(statuses.ended(view.gang.status, GangPhase.FAILED), report, view.time)
    return Decision(step=Move(status, "end"))
