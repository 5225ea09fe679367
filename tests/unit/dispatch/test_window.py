"""Which jobs become AIJobs: the best, as many as fit, and a better one always."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from muster_api.objects import ObjectMeta
from muster_queue.dispatch.window import Rank, chosen, head_age
from muster_queue.jobs.ordering import job_id_of, order_text
from muster_queue.storage.records import PodCandidate, QueueHead

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLACE = ("team-a", "default")


def candidate(number: int, priority: int = 50, queue: str = "default", seconds: float = 0.0) -> PodCandidate:
    return PodCandidate(
        id=UUID(int=number),
        namespace="team-a",
        queue=queue,
        priority=priority,
        created_at=NOW + timedelta(seconds=seconds),
    )


def rank(number: int, priority: int = 50, seconds: float = 0.0) -> Rank:
    return Rank.of(priority, NOW + timedelta(seconds=seconds), UUID(int=number))


def numbers(picked: list[PodCandidate]) -> list[int]:
    return [one.id.int for one in picked]


def test_the_best_go_first() -> None:
    found = [candidate(1), candidate(2, priority=90), candidate(3, seconds=-1)]
    assert numbers(chosen(found, {}, 2)) == [2, 3]


def test_a_full_window_holds_back_what_is_not_better() -> None:
    waiting = {PLACE: [rank(1), rank(2)]}
    assert chosen([candidate(3)], waiting, 2) == []
    assert numbers(chosen([candidate(3, priority=51)], waiting, 2)) == [3]
    assert numbers(chosen([candidate(3, seconds=-1)], waiting, 2)) == [3]


def test_queues_do_not_hold_back_each_other() -> None:
    waiting = {PLACE: [rank(1, priority=90)] * 5}
    assert numbers(chosen([candidate(3), candidate(4, queue="other")], waiting, 2)) == [4]


cases = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12)


@given(cases, cases, st.integers(1, 5))
def test_exactly_those_go_that_fewer_than_the_window_come_before(
    asked: list[tuple[int, int]], known: list[tuple[int, int]], window: int
) -> None:
    found = [candidate(number, priority, seconds=seconds) for number, (priority, seconds) in enumerate(asked)]
    waiting = [rank(100 + number, priority, seconds) for number, (priority, seconds) in enumerate(known)]
    picked = chosen(found, {PLACE: waiting}, window)
    ranks = {one.id.int: Rank.of(one.priority, one.created_at, one.id) for one in found}
    everybody = [*ranks.values(), *waiting]
    right = [number for number, own in ranks.items() if sum(other < own for other in everybody) < window]
    assert sorted(numbers(picked)) == sorted(right)
    assert [ranks[number] for number in numbers(picked)] == sorted(ranks[number] for number in right)


def test_both_doors_have_one_order() -> None:
    made = ObjectMeta(uid="u", creation_timestamp="2026-01-01T12:00:00Z")
    assert rank(1, seconds=-0.5).order < order_text(made) < rank(1, seconds=0.5).order


def test_the_id_of_a_job_of_kubectl_is_always_the_same_and_a_uuid_of_version_7() -> None:
    made = ObjectMeta(uid="u", creation_timestamp="2026-01-01T12:00:00Z")
    assert (
        job_id_of(made) == job_id_of(made) != job_id_of(ObjectMeta(uid="v", creation_timestamp="2026-01-01T12:00:00Z"))
    )
    assert (job_id_of(made).version, job_id_of(made).variant) == (7, "specified in RFC 4122")


def test_the_age_of_the_heads_is_that_of_the_oldest_job_that_goes_next() -> None:
    waiting = {PLACE: [rank(1, seconds=-500), rank(2, priority=90, seconds=-60)], ("team-a", "night"): [rank(3)]}
    assert head_age([], waiting, NOW) == 60
    better = QueueHead(id=UUID(int=4), namespace="team-a", queue="default", priority=95, created_at=NOW)
    assert head_age([better], waiting, NOW) == 0
    alone = QueueHead(
        id=UUID(int=5), namespace="team-b", queue="default", priority=1, created_at=NOW - timedelta(seconds=90)
    )
    assert head_age([better, alone], waiting, NOW) == 90
    assert head_age([], {}, NOW) == 0
