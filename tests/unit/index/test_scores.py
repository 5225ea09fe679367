"""The order of waiting jobs, as a store of doubles sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_queue.index.scores import BAND, BEGINNING, TICK, priority_of, score_of, submitted_at

priorities = st.integers(0, 100)
moments = st.timedeltas(timedelta(), timedelta(days=70 * 365)).map(lambda age: BEGINNING + age)


@settings(deadline=None)
@given(priorities, moments)
def test_a_score_is_exact_in_a_double_and_tells_what_it_was_made_from(priority: int, moment: datetime) -> None:
    score = score_of(priority, moment)
    assert int(float(score)) == score
    assert int(float(f"{float(score):.17g}")) == score
    assert priority_of(score) == priority
    assert timedelta() <= moment - submitted_at(score) < TICK


@settings(deadline=None)
@given(st.lists(st.tuples(priorities, moments, st.uuids(version=4).map(str)), max_size=30))
def test_a_sorted_set_orders_by_priority_then_time_then_id(jobs: list[tuple[int, datetime, str]]) -> None:
    as_stored = sorted(jobs, key=lambda job: (float(score_of(job[0], job[1])), job[2]))
    as_wanted = sorted(jobs, key=lambda job: (-job[0], (job[1] - BEGINNING) // TICK, job[2]))
    assert as_stored == as_wanted


@settings(deadline=None)
@given(priorities, moments, st.timedeltas(TICK, timedelta(days=365)))
def test_who_came_a_tick_later_waits_longer(priority: int, moment: datetime, later: timedelta) -> None:
    assert score_of(priority, moment + later) > score_of(priority, moment)


@settings(deadline=None)
@given(st.integers(1, 100), moments, moments)
def test_no_age_makes_up_for_a_priority(priority: int, one: datetime, other: datetime) -> None:
    assert score_of(priority, one) < score_of(priority - 1, other)


@pytest.mark.parametrize(
    ("priority", "moment", "expected"),
    [
        (100, datetime(1970, 1, 1, tzinfo=UTC), 0),
        (100, datetime(9999, 1, 1, tzinfo=UTC), BAND - 1),
        (-7, BEGINNING, 100 * BAND),
        (700, BEGINNING, 0),
    ],
    ids=["before the beginning", "after the end", "below the lowest priority", "above the highest"],
)
def test_what_is_out_of_range_still_has_its_place(priority: int, moment: datetime, expected: int) -> None:
    assert score_of(priority, moment) == expected


def test_all_bands_together_stay_where_a_double_is_exact() -> None:
    assert 101 * BAND < 2**53
