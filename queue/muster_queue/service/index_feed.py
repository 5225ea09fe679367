"""Tells the index of jobs the moment they are stored. Only a hint: what is dropped here, the outbox has kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from muster_api.phases import JobPhase
from muster_kube.backoff import Backoff
from muster_queue.index.errors import IndexFailure
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.scores import score_of
from muster_queue.index.values import Entry
from muster_queue.service.records import is_pooled
from muster_queue.storage.errors import StorageError
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.records import NewJob, StoredBatch

log = structlog.get_logger(__name__)

MOST_BATCHES: Final = 1_000
MOST_SETTLED: Final = 1_000
PACE_SECONDS: Final = 0.004
"""From one call of the index to the next: a call costs as much as storing a handful of jobs, and what comes within so
short a time goes with one."""
SETTLE_SECONDS: Final = 0.2
"""Outbox rows are deleted together now and then: well before the relay would take them for forgotten."""

Awaken = Callable[[Iterable[tuple[str, str]]], None]
"""Told (namespace, queue) where jobs of pools have begun to wait."""


def nobody_waits(queues: Iterable[tuple[str, str]]) -> None:
    """Of a process without pools."""


Told = tuple[Sequence[NewJob], StoredBatch]


class IndexFeed:
    """Only jobs that pools run go into the index: what becomes an AIJob is chosen from Postgres."""

    def __init__(self, index: QueueIndex, outbox: Outbox, awaken: Awaken = nobody_waits) -> None:
        self._index = index
        self._awaken = awaken
        self._outbox = outbox
        self._batches: deque[Told] = deque()
        self._came = asyncio.Event()
        self._settled: list[int] = []
        self.dropped = 0
        """Commits that the relay has to tell the index of."""

    def note(self, jobs: Sequence[NewJob], batch: StoredBatch) -> None:
        """Called between a commit and its answers; never waits."""
        if batch.outbox_id is None:
            return
        if len(self._batches) >= MOST_BATCHES:
            self.dropped += 1
            return
        self._batches.append((jobs, batch))
        self._came.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_all())
            group.create_task(self._settle_all())

    async def _tell_all(self) -> None:
        pause = Backoff(first=0.2, longest=5.0)
        while True:
            await self._came.wait()
            batches, self._batches = list(self._batches), deque()
            self._came.clear()
            try:
                await self._tell(batches)
                pause.reset()
                await asyncio.sleep(PACE_SECONDS)
            except IndexFailure as error:
                self.dropped += len(batches)
                log.warning("index cannot be told of new jobs", commits=len(batches), error=str(error))
                await asyncio.sleep(pause.next_delay())

    async def _tell(self, batches: Sequence[Told]) -> None:
        queues = _entries(batches)
        try:
            for (namespace, queue), entries in queues.items():
                await self._index.add(QueueKey(namespace, queue), entries)
        finally:
            # Also where the index is away: then workers get them from Postgres.
            self._awaken(set(queues))
        room = MOST_SETTLED - len(self._settled)
        self._settled += [batch.outbox_id for _, batch in batches[: max(0, room)] if batch.outbox_id is not None]

    async def _settle_all(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            if not self._settled:
                continue
            settled, self._settled = self._settled, []
            try:
                await self._outbox.settle(settled)
            except StorageError as error:
                log.warning("outbox cannot be settled now", rows=len(settled), error=str(error))


def _entries(batches: Iterable[Told]) -> dict[tuple[str, str], list[Entry]]:
    """What waits for pools, by namespace and queue."""
    queues: dict[tuple[str, str], list[Entry]] = {}
    for jobs, batch in batches:
        waiting = [job for job in jobs if is_pooled(job) and job.phase is JobPhase.QUEUED]
        # Ids and scores are made for all at once: of a bulk, one by one they would cost as much as the call.
        identities = msgspec.to_builtins([job.id for job in waiting])
        scores = {priority: score_of(priority, batch.committed_at) for priority in {job.priority for job in waiting}}
        for job, identity in zip(waiting, identities, strict=True):
            queues.setdefault((job.namespace, job.queue), []).append(Entry(identity, scores[job.priority]))
    return queues
