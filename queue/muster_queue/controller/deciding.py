"""What to do next for one gang: the release protocol as a pure function of what is seen and how long it has stood."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from muster_api.phases import GangPhase
from muster_queue.controller import following, releasing, waiting
from muster_queue.controller.roster import Roster, first_member
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
