"""How full the queues are: counted by one statement now and then, for everybody who asks meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from muster_kube.clock import Clock
from muster_queue.identity.caches import SharedCalls
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import QueueCount

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 5.0
SHARE_OF_TIME: Final = 0.05
"""At most this part of the time is spent on counting, however many jobs there are."""


class Tally(msgspec.Struct, frozen=True):
    """How full one queue is, and since when the job waits that has waited longest."""

    count: QueueCount
    oldest_queued: datetime | None


Place = tuple[str, str]
"""Namespace and queue."""


class QueueCounts:
    """The last count, and how many jobs came since to each tenant."""

    def __init__(self, jobs: Jobs, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._tallies: Mapping[Place, Tally] = {}
        self._waiting: Mapping[str, int] = {}
        self._since: Counter[str] = Counter()
        self._counted_at: float | None = None
        self._took = 0.0
        self._under_way: SharedCalls[None, None] = SharedCalls()

    @property
    def last(self) -> Mapping[Place, Tally]:
        """As it was a few seconds ago; what metrics show."""
        return self._tallies

    def waiting(self, namespace: str) -> int:
        """Jobs of the tenant that nobody works on, as far as this process knows."""
        return self._waiting.get(namespace, 0) + self._since[namespace]

    def note(self, namespace: str, jobs: int) -> None:
        """So many came in through this process."""
        self._since[namespace] += jobs

    async def fresh(self) -> Mapping[Place, Tally]:
        """As old at most as counting takes time for; raises what storage says where it cannot be counted now."""
        if self._counted_at is None or self._clock.monotonic() - self._counted_at > self._took / SHARE_OF_TIME:
            await self._under_way.result(None, self._count)
        return self._tallies

    async def run(self) -> None:
        """Counts for ever."""
        while True:
            try:
                await self._under_way.result(None, self._count)
            except StorageError as error:
                log.warning("queues cannot be counted now", error=str(error))
            await asyncio.sleep(max(PAUSE_SECONDS, self._took / SHARE_OF_TIME))

    async def close(self) -> None:
        await self._under_way.close()

    async def _count(self) -> None:
        begun, before = self._clock.monotonic(), Counter(self._since)
        counts = await self._jobs.counts()
        places = [(count.namespace, count.queue) for count in counts if count.active]
        oldest = await self._jobs.oldest_queued(places) if places else {}
        self._tallies = _tallies(counts, oldest)
        waiting: Counter[str] = Counter()
        for count in counts:
            waiting[count.namespace] += count.queued + count.parked
        self._waiting = waiting
        # What came while it was counted is in both, or only here: rather counted twice than never.
        self._since -= before
        self._counted_at = self._clock.monotonic()
        self._took = self._counted_at - begun


def _tallies(counts: Sequence[QueueCount], oldest: Mapping[Place, datetime]) -> dict[Place, Tally]:
    places = ((count.namespace, count.queue) for count in counts)
    return {place: Tally(count, oldest.get(place)) for place, count in zip(places, counts, strict=True)}
