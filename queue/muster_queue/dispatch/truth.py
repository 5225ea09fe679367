"""Postgres as the reconciler of the index sees it: the jobs of pools, waiting or in a worker's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from muster_api.phases import JobPhase
from muster_queue.index.errors import TruthAway
from muster_queue.index.keys import QueueKey
from muster_queue.index.truth import Tally
from muster_queue.index.values import Entry, Held
from muster_queue.pools.index_upkeep import entry_of
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.pooled import Pooled
from muster_queue.storage.records import OpenLease, Standing
from muster_queue.storage.transitions import STARTED

PAGE: Final = 5000
LEAST_SECONDS: Final = 1.0
"""Of a lease that is over in Postgres and not taken back yet: nobody else is to be offered the job meanwhile."""


class PostgresTruth:
    """Every page is a statement of its own."""

    def __init__(self, jobs: Jobs, pooled: Pooled) -> None:
        self._jobs = jobs
        self._pooled = pooled

    async def queues(self) -> AsyncIterator[Tally]:
        """Queues that have jobs of pools. What the index still has of others, claims refuse."""
        with _as_truth():
            counts = await self._pooled.counts()
        for count in counts:
            yield Tally(QueueKey(count.namespace, count.queue), count.waiting, count.leased)

    async def pages(self, queue: QueueKey) -> AsyncIterator[Sequence[Entry | Held]]:
        """All of a queue's, by id."""
        after: Standing | None = None
        while True:
            with _as_truth():
                found = await self._pooled.page(queue.namespace, queue.name, after, PAGE)
                known = await self._known(found)
            if known:
                yield list(known.values())
            if len(found) < PAGE:
                return
            after = found[-1]

    async def among(self, queue: QueueKey, jobs: Sequence[str]) -> Mapping[str, Entry | Held]:
        """Those of the jobs that belong into the queue's index."""
        with _as_truth():
            found = await self._jobs.standing([UUID(job) for job in jobs if is_id(job)])
            here = [
                one
                for one in found
                if one.execution == "pool" and (one.namespace, one.queue) == (queue.namespace, queue.name)
            ]
            return await self._known(here)

    async def _known(self, found: Sequence[Standing]) -> dict[str, Entry | Held]:
        started = [standing.id for standing in found if standing.phase in STARTED]
        leases = await self._pooled.leases(started) if started else {}
        known: dict[str, Entry | Held] = {}
        for standing in found:
            if standing.phase is JobPhase.QUEUED:
                known[str(standing.id)] = entry_of(standing)
            elif standing.id in leases:
                known[str(standing.id)] = held_of(leases[standing.id])
        return known


def held_of(lease: OpenLease) -> Held:
    """As long as its holder has in Postgres."""
    return Held(str(lease.id), lease.attempt, max(LEAST_SECONDS, lease.seconds))


def is_id(text: str) -> bool:
    """What somebody else has written into the index is nobody's job."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@contextmanager
def _as_truth() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise TruthAway(str(error)) from error
