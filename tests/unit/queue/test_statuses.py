"""Every next status is legal, and says what it has to say once and for good."""

from __future__ import annotations

from datetime import datetime

import pytest

from bones.gang_views import TIME, make_gang, make_plan
from muster_api.gangs import Abort, Fence, GangStatus
from muster_api.phases import GangPhase, may_move
from muster_api.reasons import Reason
from muster_api.tickets import Epoch
from muster_queue.controller import statuses
from muster_queue.controller.reporting import Pacing, difference
from muster_queue.controller.statuses import Report

LATER = "2026-01-01T00:00:09Z"


@pytest.mark.parametrize(
    ("current", "tickets", "term", "want"),
    [
        pytest.param("0-0", [], 3, "3-1", id="the first of a gang"),
        pytest.param("3-4", [], 3, "3-4", id="the one that the abort has given"),
        pytest.param("2-4", [], 3, "3-5", id="of an older leader"),
        pytest.param("3-1", ["3-7"], 3, "3-8", id="above tickets of an earlier incarnation"),
        pytest.param("0-0", ["2-2"], 3, "3-3", id="a new object whose pods have tickets"),
    ],
)
def test_an_epoch_is_never_used_twice(current: str, tickets: list[str], term: int, want: str) -> None:
    shown = [Epoch(*map(int, text.split("-"))) for text in tickets]
    assert str(statuses.reservation_epoch(GangStatus(epoch=current), shown, term)) == want


def test_an_abort_leaves_nothing_but_its_reason() -> None:
    gang = make_gang(GangPhase.RELEASED, plan=make_plan(3))
    abort = Abort(reason=Reason.NODE_LOST, node="n1", message="x" * 5000)
    status = statuses.aborted(gang.status, 2, abort)
    assert (status.phase, status.epoch, status.plan, status.reservation) == (GangPhase.PENDING, "2-2", (), None)
    assert status.aborts is not None
    assert status.aborts.count == 1
    assert status.aborts.last is not None
    assert len(status.aborts.last.message) == statuses.LONGEST_MESSAGE
    again = statuses.aborted(status, 5, abort)
    assert again.epoch == "5-3"
    assert again.aborts is not None
    assert again.aborts.count == 2


@pytest.mark.parametrize(
    ("source", "change"),
    [
        (GangPhase.PENDING, lambda s: statuses.reserved(s, Fence(term=2, seq=1), Epoch(2, 1), make_plan(3))),
        (GangPhase.PENDING, lambda s: statuses.running(s, {})),
        (GangPhase.PENDING, lambda s: statuses.ended(s, GangPhase.FAILED)),
        (GangPhase.RESERVED, statuses.released),
        (GangPhase.RESERVED, lambda s: statuses.aborted(s, 2, Abort())),
        (GangPhase.RELEASED, lambda s: statuses.aborted(s, 2, Abort())),
        (GangPhase.COMMITTED, lambda s: statuses.running(s, make_plan(3))),
        (GangPhase.COMMITTED, lambda s: statuses.evicting(s, "GangBroken")),
        (GangPhase.RUNNING, lambda s: statuses.evicting(s, "GangBroken")),
        (GangPhase.RUNNING, lambda s: statuses.grown(s, Fence(term=2, seq=1), make_plan(4))),
        (GangPhase.RUNNING, lambda s: statuses.ended(s, GangPhase.SUCCEEDED)),
        (GangPhase.EVICTING, lambda s: statuses.pending_after_eviction(s, 2)),
    ],
)
def test_every_move_is_in_the_transition_table(source: GangPhase, change: object) -> None:
    assert callable(change)
    assert may_move(source, change(make_gang(source).status).phase)


def test_the_transition_time_moves_only_with_the_condition() -> None:
    waiting = Report(Reason.WAITING_FOR_MEMBERS, "1 of 3 members exist", 1)
    first = statuses.with_report(GangStatus(), waiting, TIME)
    second = statuses.with_report(first, Report(Reason.INSUFFICIENT_RESOURCES, "short by 1", 3), LATER)
    assert [c.last_transition_time for c in second.conditions] == [TIME]
    third = statuses.with_report(second, Report(Reason.SCHEDULED, "3 bound", 3, 3), LATER)
    assert [(c.status, c.last_transition_time) for c in third.conditions] == [("True", LATER)]


def test_the_next_slot_is_above_everything_ever_shown() -> None:
    gang = make_gang(GangPhase.RUNNING, plan=make_plan(3))
    assert statuses.next_slot(gang, [0, 1, 2], []) == 3
    assert statuses.next_slot(gang, [0, 1], [4]) == 5
    trimmed = statuses.trimmed(gang.status, make_plan(1), 3, TIME)
    remembering = make_gang(GangPhase.RUNNING, plan=make_plan(1), conditions=trimmed.conditions)
    assert statuses.next_slot(remembering, [0], []) == 3


def test_progress_is_written_after_a_second_and_other_wording_after_five() -> None:
    pacing = Pacing()
    key = ("team", "pods-g")
    said = statuses.with_report(GangStatus(), Report(Reason.WAITING_FOR_MEMBERS, "1 of 3", 1), TIME)
    numbers = difference(said, Report(Reason.WAITING_FOR_MEMBERS, "2 of 3", 2))
    assert pacing.wait(key, numbers, 10.0) == pytest.approx(1.0)
    assert pacing.wait(key, numbers, 10.4) == pytest.approx(0.6)
    assert pacing.wait(key, numbers, 11.5) == 0.0
    pacing.written(key)
    wording = difference(said, Report(Reason.WAITING_FOR_MEMBERS, "one of three", 1))
    assert pacing.wait(key, wording, 20.0) == pytest.approx(5.0)
    same = difference(said, Report(Reason.WAITING_FOR_MEMBERS, "1 of 3", 1))
    assert pacing.wait(key, same, 21.0) is None


def test_moments_are_written_as_the_api_server_reads_them() -> None:
    assert datetime.fromisoformat(TIME).tzinfo is not None
