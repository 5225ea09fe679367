"""Which of the jobs that wait in Postgres become AIJobs now. Pure.

A queue keeps at most so many AIJobs waiting as fit into its window, but a better job never waits for a worse one: what
counts is how many of those that wait come before it.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from muster_queue.jobs.ordering import moment_text
from muster_queue.storage.records import PodCandidate, QueueHead

QueuePlace = tuple[str, str]
"""Namespace and name of a queue."""


class Rank(NamedTuple):
    """The planner's order: the lower, the sooner."""

    negative_priority: int
    order: str

    @classmethod
    def of(cls, priority: int, submitted: datetime, job_id: UUID) -> Rank:
        return cls(-priority, f"{moment_text(submitted)} {job_id}")


def chosen(
    candidates: Iterable[PodCandidate], waiting: Mapping[QueuePlace, Iterable[Rank]], window: int
) -> list[PodCandidate]:
    """The candidates that fit into the windows of their queues, best first."""
    by_queue: dict[QueuePlace, list[tuple[Rank, PodCandidate]]] = {}
    for candidate in candidates:
        rank = Rank.of(candidate.priority, candidate.created_at, candidate.id)
        by_queue.setdefault((candidate.namespace, candidate.queue), []).append((rank, candidate))
    picks = [_of_queue(sorted(found), sorted(waiting.get(place, ())), window) for place, found in by_queue.items()]
    return [candidate for _, candidate in heapq.merge(*picks)]


def head_age(heads: Iterable[QueueHead], waiting: Mapping[QueuePlace, Iterable[Rank]], now: datetime) -> float:
    """For how long the longest waiting of the jobs exists that go next in their queues, AIJobs included."""
    best: dict[QueuePlace, Rank] = {place: min(ranks) for place, ranks in waiting.items()}
    for head in heads:
        place, rank = (head.namespace, head.queue), Rank.of(head.priority, head.created_at, head.id)
        best[place] = min(best.get(place, rank), rank)
    oldest = min((rank.order for rank in best.values()), default="")
    submitted = oldest.partition(" ")[0]
    return max(0.0, (now - datetime.fromisoformat(submitted)).total_seconds()) if submitted else 0.0


def _of_queue(
    candidates: Sequence[tuple[Rank, PodCandidate]], waiting: Sequence[Rank], window: int
) -> list[tuple[Rank, PodCandidate]]:
    """Each comes after the better candidates and the better ones that wait already."""
    picked: list[tuple[Rank, PodCandidate]] = []
    for rank, candidate in candidates:
        if bisect_left(waiting, rank) + len(picked) >= window:
            break
        picked.append((rank, candidate))
    return picked
