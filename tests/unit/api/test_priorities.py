"""Priorities, their words and their classes agree with each other."""

from __future__ import annotations

import pytest

from muster_api.priorities import CLASS_VALUES, WORDS, PriorityError, class_for, parse_priority, priority_of_class


@pytest.mark.parametrize("text", ["-1", "101", "1.0", "urgent", "", " 5", "५", "0050"])
def test_nonsense_is_refused_with_the_accepted_words(text: str) -> None:
    with pytest.raises(PriorityError, match="low, normal, high, critical"):
        parse_priority(text)


def test_words_and_numbers() -> None:
    assert [parse_priority(word) for word in WORDS] == [20, 50, 80, 95]
    assert parse_priority("0") == 0
    assert parse_priority("100") == 100


@pytest.mark.parametrize(
    ("priority", "name"),
    [
        (100, "muster-critical"),
        (90, "muster-critical"),
        (89, "muster-interactive"),
        (60, "muster-interactive"),
        (59, "muster-batch"),
        (30, "muster-batch"),
        (29, "muster-maintenance"),
        (0, "muster-maintenance"),
    ],
)
def test_class_of_a_priority(priority: int, name: str) -> None:
    assert class_for(priority) == name


def test_a_class_stands_for_a_priority_inside_itself() -> None:
    for name in CLASS_VALUES:
        priority = priority_of_class(name)
        assert priority is not None
        assert class_for(priority) == name
    assert priority_of_class("system-cluster-critical") is None


def test_higher_priority_sorts_first_in_the_scheduler_too() -> None:
    values = [CLASS_VALUES[class_for(priority)] for priority in range(101)]
    assert values == sorted(values)
