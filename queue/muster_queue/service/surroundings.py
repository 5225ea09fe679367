"""Queues and compute clusters: the objects that people have written, joined with how full they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from muster_api.jobs import AIJobQueue, ComputeCluster
from muster_api.priorities import NORMAL, WORDS
from muster_kube.reflector import Reflector
from muster_kube.resources import AIJOB_QUEUES, COMPUTE_CLUSTERS
from muster_kube.session import ApiSession
from muster_queue.rest.service import ClusterAnswer, Page, PageRequest, Position, QueueAnswer
from muster_queue.service.counting import Place, QueueCounts, Tally
from muster_queue.service.errors import in_words_of_the_api

T = TypeVar("T")
SEPARATOR: Final = "/"


class Surroundings:
    """What is around the jobs, from the API server's watch."""

    def __init__(self, session: ApiSession, counts: QueueCounts) -> None:
        self.reflectors: Sequence[Reflector[Any]] = (
            queues := Reflector(session, AIJOB_QUEUES, AIJobQueue),
            clusters := Reflector(session, COMPUTE_CLUSTERS, ComputeCluster),
        )
        self._queues = queues.store
        self._clusters = clusters.store
        self._counts = counts

    def unready(self) -> list[str]:
        return [f"{each.resource} not listed yet" for each in self.reflectors if not each.synced.is_set()]

    def priority_of(self, namespace: str, queue: str) -> int:
        """Of a job that names none: its queue's, else the middle."""
        found = self._queues.get((namespace, queue))
        return NORMAL if found is None else WORDS[found.spec.priority_class]

    async def queues(self, namespace: str, page: PageRequest) -> Page[QueueAnswer]:
        """Queues that somebody has written, and those that jobs name all the same."""
        with in_words_of_the_api():
            tallies = await self._counts.fresh()
        places = sorted({*self._queues, *tallies})
        wanted = [place for place in places if namespace in ("", place[0])]
        return _paged(wanted, page, SEPARATOR.join, lambda place: self._queue(place, tallies.get(place)))

    async def clusters(self, page: PageRequest) -> Page[ClusterAnswer]:
        """By name."""
        return _paged(sorted(self._clusters), page, lambda key: key[1], lambda key: _cluster(self._clusters[key]))

    def _queue(self, place: Place, tally: Tally | None) -> QueueAnswer:
        found = self._queues.get(place)
        count = tally.count if tally else None
        return QueueAnswer(
            namespace=place[0],
            name=place[1],
            pending=count.queued + count.parked if count else 0,
            running=count.started if count else 0,
            max_concurrency=found.spec.max_concurrency if found else None,
            priority=self.priority_of(*place),
            oldest_pending=tally.oldest_queued if tally else None,
        )


def _cluster(found: ComputeCluster) -> ClusterAnswer:
    capacity, status = found.spec.capacity, found.status
    return ClusterAnswer(
        name=found.metadata.name,
        node_selector=found.spec.node_selector,
        max_jobs=capacity.max_jobs if capacity else None,
        max_gpus=capacity.max_gpus if capacity else None,
        nodes=status.nodes,
        jobs=status.jobs,
        gpus=status.gpus,
    )


def _paged(
    keys: Sequence[Place], page: PageRequest, text_of: Callable[[Place], str], answer: Callable[[Place], T]
) -> Page[T]:
    """The page after a key; a text is compared part by part, as the keys themselves are."""
    after = page.after.text if page.after else ""
    rest = [key for key in keys if not after or tuple(after.split(SEPARATOR)) < tuple(text_of(key).split(SEPARATOR))]
    shown = rest[: page.limit]
    end = Position(0, text_of(shown[-1])) if len(rest) > len(shown) else None
    return Page(items=[answer(key) for key in shown], next=end)
