"""The drawing, the table and the rules about phases say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muster_api.phases import (
    COMMITTED_PHASES,
    COVER_PHASES,
    GANG_TRANSITIONS,
    HOLDING_PHASES,
    GangPhase,
    JobPhase,
    may_move,
)

DRAWING = Path(__file__).parents[3] / "docs" / "state_machine.md"
ARROW = re.compile(r"^    (\w+) --> (\w+):", re.MULTILINE)


def test_drawing_and_table_have_the_same_arrows() -> None:
    drawn = {(GangPhase(source), GangPhase(target)) for source, target in ARROW.findall(DRAWING.read_text())}
    assert drawn == {(source, target) for source, targets in GANG_TRANSITIONS.items() for target in targets}


def test_every_phase_is_reachable_from_pending() -> None:
    reached, frontier = {GangPhase.PENDING}, [GangPhase.PENDING]
    while frontier:
        for target in GANG_TRANSITIONS[frontier.pop()] - reached:
            reached.add(target)
            frontier.append(target)
    assert reached == set(GangPhase)


@pytest.mark.parametrize("source", sorted(COMMITTED_PHASES))
def test_nothing_committed_goes_back_without_an_eviction(source: GangPhase) -> None:
    assert not GANG_TRANSITIONS[source] & {GangPhase.PENDING, *COVER_PHASES}


def test_only_a_released_gang_commits() -> None:
    assert [source for source in GangPhase if GangPhase.COMMITTED in GANG_TRANSITIONS[source]] == [GangPhase.RELEASED]


def test_staying_is_always_allowed_and_skipping_the_barrier_never() -> None:
    assert all(may_move(phase, phase) for phase in GangPhase)
    assert not may_move(GangPhase.RESERVED, GangPhase.COMMITTED)


def test_phases_that_hold_room_are_those_between_plan_and_end() -> None:
    assert HOLDING_PHASES == COVER_PHASES | COMMITTED_PHASES


def test_job_phases_are_those_of_the_interface() -> None:
    waiting = {"Pending", "Queued", "Scheduled", "Retrying", "Held"}
    assert {str(phase) for phase in JobPhase} == waiting | {"Running", "Succeeded", "Failed", "DeadLetter", "Cancelled"}
