"""Tells the index what its writers could not: the rows of the outbox that were left over."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from muster_api.phases import JobPhase
from muster_queue.index.errors import IndexMisused
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.pools.index_upkeep import entry_of
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.outbox import Outbox, OutboxRow
from muster_queue.storage.records import Standing
from muster_queue.storage.transitions import STARTED

log = structlog.get_logger(__name__)

POOL: Final = "pool"
MOST: Final = 100
PAUSE_SECONDS: Final = 0.5


class Relay:
    """Says what is true now, not what was when the row was written: late, twice or out of order does no harm."""

    def __init__(
        self, outbox: Outbox, jobs: Jobs, index: QueueIndex | None, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._index = index
        self._pause_seconds = pause_seconds

    async def round(self) -> None:
        """One page of the outbox."""
        rows = await self._outbox.pending(most=MOST)
        if rows:
            await self._tell(rows)
            await self._outbox.settle([row.id for row in rows])
        if len(rows) < MOST:
            await asyncio.sleep(self._pause_seconds)

    async def _tell(self, rows: Sequence[OutboxRow]) -> None:
        if self._index is None:
            # Once there is one, it is filled from the jobs themselves.
            return
        job_ids = list(dict.fromkeys(job_id for row in rows for job_id in row.job_ids))
        by_queue: dict[QueueKey, list[Standing]] = defaultdict(list)
        for standing in await self._standing(job_ids):
            if standing.execution == POOL:
                by_queue[QueueKey(standing.namespace, standing.queue)].append(standing)
        for queue, found in by_queue.items():
            await self._tell_queue(self._index, queue, found)

    async def _standing(self, job_ids: Sequence[UUID]) -> list[Standing]:
        parts = [job_ids[start : start + 1000] for start in range(0, len(job_ids), 1000)]
        return [standing for part in parts for standing in await self._jobs.standing(part)]

    async def _tell_queue(self, index: QueueIndex, queue: QueueKey, found: Sequence[Standing]) -> None:
        waiting = [entry_of(standing) for standing in found if standing.phase is JobPhase.QUEUED]
        over = [
            str(standing.id)
            for standing in found
            if standing.phase is not JobPhase.QUEUED and standing.phase not in STARTED
        ]
        try:
            await index.add(queue, waiting)
            await index.reprioritize(queue, waiting)
            await index.withdraw(queue, over)
        except IndexMisused as error:
            # A key that somebody else has written: the other queues go on, and the reconciler says so too.
            log.error("queue cannot be told to the index", queue=str(queue), error=str(error))
