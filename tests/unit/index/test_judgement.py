"""When a queue of the index is doubted."""

from __future__ import annotations

import pytest

from muster_queue.index.judgement import Doubt, Drift, Tolerance, doubt_of, has_drifted
from muster_queue.index.keys import QueueKey
from muster_queue.index.truth import Tally
from muster_queue.index.values import Examination, Identity, Marker

NOW = Identity("run", 0)
TOLERANCE = Tolerance(looks=3, jobs=10, share=0.01)


def look(waiting: int = 0, leased: int = 0, told: int = 100) -> Drift:
    return Drift(waiting, leased, Tally(QueueKey("team", "gpu"), told))


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        (None, Doubt.EMPTIED),
        (Marker("epoch", Identity("other", 0)), Doubt.REPLACED),
        (Marker("epoch", Identity("run", 1)), Doubt.EVICTED),
        (Marker("epoch", NOW), None),
    ],
    ids=["no marker", "another server", "something evicted", "all well"],
)
def test_a_marker_tells_what_happened_to_the_store(marker: Marker | None, expected: Doubt | None) -> None:
    assert doubt_of(Examination(marker, NOW)) == expected


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([], False),
        ([look(-500)] * 2, False),
        ([look(-500), look(-300), look(-400)], True),
        ([look(500), look(300), look(400)], True),
        ([look(-500), look(300), look(-400)], False),
        ([look(-500), look(-3), look(-400)], False),
        ([look(-5), look(-3), look(-4)], False),
        ([look(-1)] * 3, True),
        ([look(-1, told=100), look(-1, told=101), look(-1, told=102)], False),
        ([look()] * 3, False),
        ([look(0, 50), look(0, 40), look(0, 60)], True),
        ([look(-50, told=100_000)] * 2 + [look(-60, told=100_000)], False),
    ],
    ids=[
        "never looked",
        "not often enough",
        "many missing each time",
        "many too many each time",
        "now missing, now too many",
        "once about right",
        "a few on their way",
        "one missing, and nothing moves",
        "one missing, and jobs come",
        "nothing differs",
        "leases too many",
        "little for so many jobs",
    ],
)
def test_counts_are_doubted_when_several_looks_agree(looks: list[Drift], expected: bool) -> None:
    assert has_drifted(looks, TOLERANCE) is expected


def test_only_the_last_looks_count() -> None:
    assert not has_drifted([look(-500)] * 5 + [look()], TOLERANCE)
