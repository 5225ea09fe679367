"""Why a gang waits: one dominant reason, the numbers behind it, and whether time alone can ever help."""

from __future__ import annotations

from muster_api.reasons import Reason
from muster_planner.matching import explain_no_match
from muster_planner.placement import best_attempt, largest_first
from muster_planner.policy import Policy
from muster_planner.request import GangRequest
from muster_planner.reservation import Explanation
from muster_planner.shortage import explain_never, explain_now
from muster_planner.snapshot import Snapshot
from muster_planner.verdict import Verdict
from muster_planner.wording import members_text, number


def explain_held(request: GangRequest, policy: Policy, now: float) -> Explanation | None:
    """Why a gang is not even tried in this cycle; None when it is."""
    verdict = _incomplete(request) or _out_of_reach(request, policy) or _kept_back(request, now)
    return _explanation(request, verdict) if verdict else None


def explain_limit(request: GangRequest, verdict: Verdict) -> Explanation:
    """A limit stands in its way, room or not."""
    return _explanation(request, verdict)


def explain_unplaced(snapshot: Snapshot, request: GangRequest, policy: Policy, now: float) -> Explanation:
    """Why a gang that was tried has no place in this room."""
    largest = largest_first(request.groups, policy)
    verdict = _shut_out(snapshot, request, largest, now) or explain_never(snapshot, request, largest)
    if verdict is None:
        attempt = best_attempt(snapshot, request, policy, now)
        verdict = explain_now(snapshot, request, largest, attempt, now)
    return _explanation(request, verdict)


def _shut_out(snapshot: Snapshot, request: GangRequest, order: list[int], now: float) -> Verdict | None:
    """The constraint that shuts out so many members that the others are too few.

    Constraints that last are blamed only where they alone are enough; health may mend.
    """
    verdicts = {position: explain_no_match(snapshot, request, request.groups[position], now) for position in order}
    shut = {position: verdict for position, verdict in verdicts.items() if verdict}
    for_good = {position: verdict for position, verdict in shut.items() if verdict.permanent}
    for found in (for_good, shut):
        if request.members - sum(request.groups[position].count for position in found) < request.minimum:
            return min(found.values(), key=lambda verdict: verdict.permanent != (found is for_good))
    return None


def _incomplete(request: GangRequest) -> Verdict | None:
    needed = max(1, request.minimum)
    if request.members >= needed:
        return None
    return Verdict(Reason.WAITING_FOR_MEMBERS, f"{request.members} of {members_text(needed)} exist")


def _out_of_reach(request: GangRequest, policy: Policy) -> Verdict | None:
    if request.unsupported is not None:
        message = f"{request.unsupported} is not supported for pods that Muster releases"
        return Verdict(Reason.UNSUPPORTED_CONSTRAINT, message, permanent=True)
    if policy.largest_gang is not None and request.minimum > policy.largest_gang:
        message = (
            f"{request.minimum} members have to start together; "
            f"the scheduler's bind timeout allows {policy.largest_gang} at most"
        )
        return Verdict(Reason.GANG_TOO_LARGE, message, permanent=True)
    return None


def _kept_back(request: GangRequest, now: float) -> Verdict | None:
    """Back-off and quarantine; the length of the pause stands in the message, not what is left of it."""
    lesson = request.taught
    if lesson.not_before <= now:
        return None
    tries = "1 failed attempt" if lesson.strikes == 1 else f"{lesson.strikes} failed attempts"
    pause = f"{number('cpu', round(lesson.delay * 1000))} s"
    last = lesson.last
    why = f"; the last one: {last.reason}" + (f" on node {last.node}" if last.node else "") if last else ""
    if lesson.quarantined:
        message = f"after {tries} it yields its place to others and is tried again every {pause}{why}"
        return Verdict(Reason.QUARANTINED, message)
    return Verdict(Reason.BACKING_OFF, f"pauses {pause} after {tries}{why}")


def _explanation(request: GangRequest, verdict: Verdict) -> Explanation:
    return Explanation(request.key, request.uid, verdict.reason, verdict.message, verdict.permanent)
