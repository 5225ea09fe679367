"""What aborts teach: back-off, exclusion, quarantine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from muster_api.gangs import Abort, Aborts
from muster_api.reasons import Reason
from muster_planner.retry import (
    NOTHING_LEARNT,
    Lesson,
    RetryRules,
    back_off,
    excluded_nodes,
    forgive,
    give_another_try,
    learn,
    next_change,
)

RULES = RetryRules(
    first_delay=1, factor=2, longest_delay=10, quarantine_after=4, quarantine_delay=100, node_exclusion=50
)


def aborts(count: int, reason: str = Reason.BARRIER_TIMEOUT, node: str = "") -> Aborts:
    return Aborts(count=count, last=Abort(reason=reason, node=node))


def after(*seen: Aborts, now: float = 0.0) -> Lesson:
    lesson = NOTHING_LEARNT
    for status in seen:
        lesson = learn(lesson, status, now, RULES)
    return lesson


@pytest.mark.parametrize(("strikes", "expected"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (10**9, 10)])
def test_back_off_doubles_up_to_its_cap(strikes: int, expected: float) -> None:
    assert back_off(strikes, RULES) == expected


def test_each_abort_lengthens_the_pause() -> None:
    delays = [after(*(aborts(number + 1) for number in range(count)), now=5.0) for count in (1, 2, 3)]
    assert [(lesson.delay, lesson.not_before) for lesson in delays] == [(1, 6), (2, 7), (4, 9)]


def test_the_same_status_again_teaches_nothing_new() -> None:
    lesson = after(aborts(1))
    assert learn(lesson, aborts(1), 99.0, RULES) is lesson
    assert learn(lesson, None, 99.0, RULES) is lesson


def test_a_new_leader_learns_from_the_count_alone() -> None:
    assert after(aborts(3), now=5.0) == Lesson(3, 3, 9.0, 4.0, last=aborts(3).last)


@pytest.mark.parametrize("reason", [Reason.MEMBER_DELETED, Reason.STALE_RESERVATION, Reason.PREEMPTED])
def test_an_abort_that_is_nobodys_fault_costs_no_pause(reason: Reason) -> None:
    lesson = after(aborts(1, reason, node="n1"))
    assert (lesson.seen, lesson.strikes, lesson.not_before, lesson.excluded) == (1, 0, 0.0, ())


def test_the_node_that_an_abort_names_is_avoided_for_a_while() -> None:
    lesson = after(aborts(1, Reason.PLACEMENT_REFUSED, node="n1"), aborts(2, Reason.NODE_LOST, node="n2"), now=5.0)
    assert excluded_nodes(lesson, 54.0) == {"n1", "n2"}
    assert excluded_nodes(lesson, 55.0) == frozenset()


def test_exclusions_that_are_over_are_forgotten() -> None:
    lesson = learn(after(aborts(1, node="n1")), aborts(2, node="n2"), 60.0, RULES)
    assert [exclusion.node for exclusion in lesson.excluded] == ["n2"]


def test_after_enough_aborts_comes_quarantine() -> None:
    assert not after(aborts(3)).quarantined
    lesson = after(aborts(4), now=1.0)
    assert (lesson.quarantined, lesson.not_before) == (True, 101.0)


def test_a_changed_cluster_gives_a_quarantined_gang_another_try_in_its_low_place() -> None:
    lesson = give_another_try(after(aborts(4, node="n1")), 7.0)
    assert (lesson.quarantined, lesson.not_before, lesson.excluded) == (True, 7.0, ())


def test_a_changed_cluster_does_not_cut_an_ordinary_pause_short() -> None:
    lesson = after(aborts(2))
    assert give_another_try(lesson, 1.0) is lesson


def test_a_forgiven_gang_starts_anew_but_old_aborts_stay_counted() -> None:
    lesson = forgive(after(aborts(4)))
    assert lesson == Lesson(seen=4)
    assert learn(lesson, aborts(4), 0.0, RULES) is lesson
    assert learn(lesson, aborts(5), 0.0, RULES).strikes == 1


def test_the_next_change_is_the_nearest_moment_ahead() -> None:
    lesson = after(aborts(1, node="n1"), now=10.0)
    assert [next_change(lesson, now) for now in (10.0, 11.0, 60.0)] == [11.0, 60.0, None]


def test_pauses_never_shrink_until_quarantine() -> None:
    delays = [after(aborts(count)).delay for count in range(1, 10)]
    assert all(earlier <= later for earlier, later in pairwise(delays))
