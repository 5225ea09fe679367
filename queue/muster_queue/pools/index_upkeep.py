"""Tells the index what Postgres has decided about a pool's jobs, behind everybody's back: nothing waits for it.

What is lost here (the index is away, the process dies) the reconciler finds, and claims refuse meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from muster_api.phases import JobPhase
from muster_queue.index.errors import IndexFailure
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.scores import score_of
from muster_queue.index.values import Entry, Held, Lease
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import Standing
from muster_queue.storage.transitions import STARTED

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 100_000
PAUSE_SECONDS: Final = 0.5


class IndexUpkeep:
    """Bounded: while the index is away the oldest news are dropped."""

    def __init__(self, index: QueueIndex, jobs: Jobs, lease_seconds: float) -> None:
        self._index = index
        self._jobs = jobs
        self._lease_seconds = lease_seconds
        self._ended: deque[tuple[QueueKey, Lease]] = deque(maxlen=MOST_WAITING)
        self._kept: deque[tuple[QueueKey, Lease]] = deque(maxlen=MOST_WAITING)
        self._claimed: deque[tuple[QueueKey, Lease]] = deque(maxlen=MOST_WAITING)
        self._refused: deque[tuple[QueueKey, Lease]] = deque(maxlen=MOST_WAITING)
        self._came = asyncio.Event()

    def ended(self, queue: QueueKey, job_id: UUID, attempt: int) -> None:
        """The attempt is over."""
        self._note(self._ended, queue, job_id, attempt)

    def kept(self, queue: QueueKey, job_id: UUID, attempt: int) -> None:
        """Its holder is alive."""
        self._note(self._kept, queue, job_id, attempt)

    def claimed(self, queue: QueueKey, job_id: UUID, attempt: int) -> None:
        """Without having been taken from the index."""
        self._note(self._claimed, queue, job_id, attempt)

    def refused(self, queue: QueueKey, job_id: UUID, attempt: int) -> None:
        """Taken from the index, and not to be had: somebody else's, held, over; or it waits for another attempt."""
        self._note(self._refused, queue, job_id, attempt)

    async def run(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            try:
                await self._tell()
            except (IndexFailure, StorageError) as error:
                log.info("the index was not told", reason=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def sweep(self, queue: QueueKey) -> int:
        """Looks at leases that are over in the index: what still waits in Postgres is offered again."""
        return await self._mend(queue, await self._index.expire(queue))

    def _note(self, news: deque[tuple[QueueKey, Lease]], queue: QueueKey, job_id: UUID, attempt: int) -> None:
        news.append((queue, Lease(str(job_id), attempt)))
        self._came.set()

    async def _tell(self) -> None:
        for queue, leases in _by_queue(self._claimed).items():
            await self._index.restore(queue, [Held(each.job, each.attempt, self._lease_seconds) for each in leases])
        for queue, leases in _by_queue(self._kept).items():
            await self._index.heartbeat(queue, leases, self._lease_seconds)
        for queue, leases in _by_queue(self._ended).items():
            await self._index.acknowledge(queue, leases)
        for queue, leases in _by_queue(self._refused).items():
            await self._mend(queue, leases)

    async def _mend(self, queue: QueueKey, leases: Sequence[Lease]) -> int:
        """Each lease of the index becomes what Postgres says of its job."""
        if not leases:
            return 0
        found = {str(each.id): each for each in await self._jobs.standing([UUID(lease.job) for lease in leases])}
        waiting = [entry_of(found[lease.job]) for lease in leases if _waits(found.get(lease.job), queue)]
        working = [lease for lease in leases if (each := found.get(lease.job)) and each.phase in STARTED]
        over = [lease for lease in leases if not _waits(found.get(lease.job), queue) and lease not in working]
        await self._index.give_back(queue, waiting)
        await self._index.heartbeat(queue, working, self._lease_seconds)
        await self._index.acknowledge(queue, over)
        return len(waiting)


def entry_of(standing: Standing) -> Entry:
    """The place in the index of a job that waits for its next attempt."""
    since: datetime = standing.queued_at or standing.created_at
    return Entry(str(standing.id), score_of(standing.priority, since), standing.attempt + 1)


def _waits(standing: Standing | None, queue: QueueKey) -> bool:
    return (
        standing is not None
        and standing.phase is JobPhase.QUEUED
        and standing.execution == "pool"
        and (standing.namespace, standing.queue) == (queue.namespace, queue.name)
    )


def _by_queue(news: deque[tuple[QueueKey, Lease]]) -> dict[QueueKey, list[Lease]]:
    found: defaultdict[QueueKey, list[Lease]] = defaultdict(list)
    while news:
        queue, lease = news.popleft()
        found[queue].append(lease)
    return found
