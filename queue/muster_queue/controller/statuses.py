"""The next status of a Gang for each move of the release protocol; nothing here decides whether to make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from muster_api.conditions import with_condition
from muster_api.gangs import Abort, Aborts, Evicting, Fence, Gang, GangStatus
from muster_api.phases import GangPhase
from muster_api.plans import Placement, encode_plan
from muster_api.reasons import Reason
from muster_api.tickets import Epoch, parse_epoch

SCHEDULED: Final = "Scheduled"
HEALTHY: Final = "Healthy"
SLOTS_USED: Final = "SlotsUsed"
MEMBERS_SUCCEEDED: Final = "MembersSucceeded"
LONGEST_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What a gang's status says for people: the dominant reason, numbers, and who is there."""

    reason: Reason
    message: str
    present: int = 0
    bound: int = 0
    succeeded: int = 0
    """Members that came to a good end, written down because their pods may go before the gang has ended."""

    @property
    def is_scheduled(self) -> bool:
        return self.reason is Reason.SCHEDULED


def with_report(status: GangStatus, report: Report, now: str) -> GangStatus:
    """The same phase, told with these words; Scheduled is true exactly when the reason says so."""
    message = report.message[:LONGEST_MESSAGE]
    conditions = with_condition(status.conditions, SCHEDULED, report.reason, message, now, is_true=report.is_scheduled)
    if report.succeeded:
        text = f"{status.epoch} {report.succeeded}"
        conditions = with_condition(conditions, MEMBERS_SUCCEEDED, Reason.FINISHED, text, now, is_true=True)
    return msgspec.structs.replace(
        status,
        reason=report.reason,
        message=message,
        present=report.present,
        bound=report.bound,
        conditions=conditions,
    )


def reservation_epoch(status: GangStatus, tickets: Iterable[Epoch], term: int) -> Epoch:
    """The epoch of a reservation: the gang's own while it is of this term and newer than every ticket around."""
    current = parse_epoch(status.epoch)
    newest = max(tickets, default=Epoch(0, 0))
    if current.term == term and current.count > 0 and current > newest:
        return current
    if newest >= current:
        return newest.next(term)
    return current.next(term)


def reserved(
    status: GangStatus, fence: Fence, epoch: Epoch, plan: Mapping[int, Placement], attempt: int = 0
) -> GangStatus:
    """Room for the whole gang is taken from here on, as long as the fence covers it; `attempt` is its job's."""
    return msgspec.structs.replace(
        status,
        phase=GangPhase.RESERVED,
        epoch=str(epoch),
        reservation=fence,
        plan=tuple(encode_plan(dict(plan))),
        attempt=attempt,
    )


def adopted(status: GangStatus, fence: Fence) -> GangStatus:
    """The same reservation under a new leader's fence."""
    return msgspec.structs.replace(status, reservation=fence)


def released(status: GangStatus) -> GangStatus:
    """Every ticket is out: the barrier may open."""
    return msgspec.structs.replace(status, phase=GangPhase.RELEASED)


def aborted(status: GangStatus, term: int, abort: Abort) -> GangStatus:
    """Back to Pending before anything was bound: tickets are worthless, the reason is kept for the next plan."""
    count = status.aborts.count if status.aborts is not None else 0
    kept = msgspec.structs.replace(abort, message=abort.message[:LONGEST_MESSAGE])
    return _emptied(status, GangPhase.PENDING, term, Aborts(count=count + 1, last=kept))


def evicting(status: GangStatus, by: str) -> GangStatus:
    """The whole gang is taken down; no member binds any more."""
    return msgspec.structs.replace(
        status, phase=GangPhase.EVICTING, evicting=Evicting(by=by, epoch=status.epoch), reservation=None
    )


def pending_after_eviction(status: GangStatus, term: int) -> GangStatus:
    """No pod of the old epoch is left: the gang may be planned again."""
    return _emptied(status, GangPhase.PENDING, term, status.aborts)


def another_attempt(status: GangStatus, term: int) -> GangStatus:
    """The next attempt of a job, once no pod of the last one is left; no two attempts ever share a number."""
    attempt = status.attempt + 1 if status.attempt else 0
    return msgspec.structs.replace(pending_after_eviction(status, term), attempt=attempt)


def running(status: GangStatus, plan: Mapping[int, Placement]) -> GangStatus:
    return msgspec.structs.replace(
        status, phase=GangPhase.RUNNING, plan=tuple(encode_plan(dict(plan))), reservation=None, deadline=None
    )


def grown(status: GangStatus, fence: Fence, plan: Mapping[int, Placement]) -> GangStatus:
    """New slots for replacements and late members; `fence` says by which leader they were planned."""
    return msgspec.structs.replace(status, plan=tuple(encode_plan(dict(plan))), reservation=fence)


def trimmed(status: GangStatus, plan: Mapping[int, Placement], next_slot: int, now: str) -> GangStatus:
    """Without slots that nobody needs; numbers once used are remembered so that none is given twice in an epoch."""
    kept = max(plan, default=-1) + 1
    conditions = status.conditions
    if next_slot > kept:
        text = f"{status.epoch} {next_slot}"
        conditions = with_condition(conditions, SLOTS_USED, "NextSlot", text, now, is_true=True)
    return msgspec.structs.replace(status, plan=tuple(encode_plan(dict(plan))), conditions=conditions)


def ended(status: GangStatus, phase: GangPhase) -> GangStatus:
    return msgspec.structs.replace(status, phase=phase, plan=(), reservation=None, evicting=None, deadline=None)


def broken(status: GangStatus, message: str, now: str) -> GangStatus:
    """Fewer members than needed are left and its owner wants the rest kept."""
    conditions = with_condition(status.conditions, HEALTHY, Reason.GANG_BROKEN, message, now, is_true=False)
    return msgspec.structs.replace(status, conditions=conditions)


def next_slot(gang: Gang, plan: Iterable[int], shown: Iterable[int]) -> int:
    """The lowest slot number never used in this epoch: above the plan, every ticket seen, and what was trimmed."""
    remembered = _remembered(gang.status, SLOTS_USED)
    return max(remembered, max(plan, default=-1) + 1, max(shown, default=-1) + 1)


def succeeded_so_far(status: GangStatus) -> int:
    """How many members had come to a good end in this epoch when somebody last wrote it down."""
    return _remembered(status, MEMBERS_SUCCEEDED)


def _remembered(status: GangStatus, kind: str) -> int:
    """The number in a condition that says "EPOCH NUMBER", where it is of this epoch; 0 where there is none."""
    for condition in status.conditions:
        epoch, _, number = condition.message.partition(" ")
        if condition.type == kind and epoch == status.epoch and number.isdigit():
            return int(number)
    return 0


def _emptied(status: GangStatus, phase: GangPhase, term: int, aborts: Aborts | None) -> GangStatus:
    conditions = tuple(c for c in status.conditions if c.type not in (HEALTHY, SLOTS_USED, MEMBERS_SUCCEEDED))
    return msgspec.structs.replace(
        status,
        phase=phase,
        epoch=str(parse_epoch(status.epoch).next(term)),
        reservation=None,
        plan=(),
        evicting=None,
        deadline=None,
        committed_at=None,
        aborts=aborts,
        bound=0,
        conditions=conditions,
    )
