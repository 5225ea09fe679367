"""What to do next for one gang: the release protocol as a pure function of what is seen and how long it has stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from muster_api.names import MANAGED_LABEL
from muster_api.phases import GangPhase
from muster_api.reasons import Reason
from muster_queue.controller import following, releasing, waiting
from muster_queue.controller.roster import Roster, first_member
from muster_queue.controller.singles import SingleDecision
from muster_queue.controller.statuses import Report
from muster_queue.controller.steps import CreateGang, Decision
from muster_queue.controller.timing import Patience
from muster_queue.controller.views import GangView

Decide = Callable[[GangView, Patience, float], Decision]

BY_PHASE: Mapping[GangPhase, Decide] = {
    GangPhase.PENDING: waiting.decide_pending,
    GangPhase.RESERVED: releasing.decide_reserved,
    GangPhase.RELEASED: releasing.decide_released,
    GangPhase.COMMITTED: following.decide_committed,
    GangPhase.RUNNING: following.decide_running,
    GangPhase.EVICTING: following.decide_evicting,
    GangPhase.SUCCEEDED: waiting.decide_ended,
    GangPhase.FAILED: waiting.decide_ended,
}


def decide(view: GangView, patience: Patience, now: float) -> Decision:
    """The next step for a gang that has its object; `now` is of the clock that the view's timing was taken with."""
    return BY_PHASE[view.gang.status.phase](view, patience, now)


def decide_without_gang(roster: Roster) -> Decision:
    """A label without its object: made as soon as one member can speak for the gang."""
    first = first_member((*roster.counted, *roster.surplus, *(member for member, _ in roster.refused)))
    return Decision() if first is None else Decision(step=CreateGang(first))


def decide_unmanaged(decision: Decision, view: GangView | None) -> Decision:
    """For a gang whose namespace has lost its label: what is under way goes on, what waits is told that it will."""
    if view is None or decision.step is not None or view.gang.status.phase is not GangPhase.PENDING:
        return decision
    text = _not_managed_text(view.gang.metadata.namespace)
    report = Report(Reason.NAMESPACE_NOT_MANAGED, text, len(view.roster.counted), view.roster.bound)
    return replace(decision, report=report, wanted=())


def decide_unmanaged_single(namespace: str) -> SingleDecision:
    """The same for a pod without a gang label."""
    return SingleDecision(reason=Reason.NAMESPACE_NOT_MANAGED, message=_not_managed_text(namespace))


def _not_managed_text(namespace: str) -> str:
    return f"namespace {namespace} is not labelled {MANAGED_LABEL}=true any more; label it again, or delete the pods"
