"""The table of a job's moves, its drawing, and the ids that jobs are given."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_api.phases import JobPhase
from muster_queue.storage.identifiers import JobIds, first_id_at, generated_name, made_at
from muster_queue.storage.records import Change
from muster_queue.storage.transitions import (
    ENDED,
    FIRST_PHASES,
    SHELVES,
    STARTED,
    TRANSITIONS,
    WAITING,
    is_legal,
    sources_of,
)

DRAWING = Path(__file__).parents[3] / "docs" / "job_state_machine.md"
ARROW = re.compile(r"^    (\w+) --> (\w+):", re.MULTILINE)


def test_drawing_and_table_have_the_same_arrows() -> None:
    drawn = {(JobPhase(source), JobPhase(target)) for source, target in ARROW.findall(DRAWING.read_text())}
    assert drawn == {(source, target) for source, targets in TRANSITIONS.items() for target in targets}


def test_every_phase_has_a_row_a_shelf_and_a_kind() -> None:
    assert set(TRANSITIONS) == set(SHELVES) == WAITING | STARTED | ENDED == set(JobPhase)
    assert not WAITING & STARTED and not WAITING & ENDED and not STARTED & ENDED


def test_every_phase_is_reached_and_none_is_a_move_to_itself() -> None:
    reached, frontier = set(FIRST_PHASES), list(FIRST_PHASES)
    while frontier:
        for target in TRANSITIONS[frontier.pop()] - reached:
            reached.add(target)
            frontier.append(target)
    assert reached == set(JobPhase)
    assert not any(is_legal(phase, phase) for phase in JobPhase)


@pytest.mark.parametrize("phase", [JobPhase.SUCCEEDED, JobPhase.CANCELLED])
def test_what_is_over_for_good_stays_so(phase: JobPhase) -> None:
    assert TRANSITIONS[phase] == frozenset()


def test_whatever_has_not_ended_can_be_cancelled() -> None:
    assert set(sources_of(JobPhase.CANCELLED)) == WAITING | STARTED | {JobPhase.DEAD_LETTER}


def test_only_a_claim_begins_an_attempt() -> None:
    job_id = JobIds().make()
    assert Change(job_id=job_id, target=JobPhase.RUNNING).as_row().sources == (JobPhase.SCHEDULED,)
    assert Change(job_id=job_id, target=JobPhase.SCHEDULED).as_row().sources == ()


@given(st.lists(st.integers(min_value=0, max_value=5), min_size=1, max_size=50))
def test_ids_rise_whatever_the_clock_does(steps: list[int]) -> None:
    now = 1_750_000_000_000
    times = iter([now + 3 - step for step in steps])
    ids = JobIds(milliseconds=lambda: next(times))
    made = [ids.make() for _ in steps]
    assert made == sorted(made) and len(set(map(generated_name, made))) == len(made)
    assert all(one.version == 7 and one.variant == "specified in RFC 4122" for one in made)


def test_a_full_counter_moves_on_to_the_next_millisecond() -> None:
    ids = JobIds(milliseconds=lambda: 5, random_bits=lambda bits: (1 << bits) - 1)
    first = ids.make()
    for _ in range(3):
        last, first = first, ids.make()
        assert first > last


def test_a_moment_becomes_a_bound_of_ids() -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    job_id = JobIds(milliseconds=lambda: int(moment.timestamp() * 1000)).make()
    assert made_at(job_id) == moment
    assert first_id_at(moment) <= job_id < first_id_at(moment + timedelta(milliseconds=1))
