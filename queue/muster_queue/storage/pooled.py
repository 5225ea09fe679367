"""The jobs of pools as the index has to know them: counted, page by page, with the leases on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from muster_queue.storage.database import Database
from muster_queue.storage.jobs import LEAST_ID, as_standing
from muster_queue.storage.records import OpenLease, Standing
from muster_queue.storage.statements import statement

ABOVE_ALL: Final = 101


@dataclass(frozen=True, slots=True)
class PoolCount:
    """How many jobs of a queue wait for a pool's worker, and how many have one."""

    namespace: str
    queue: str
    waiting: int
    leased: int


class Pooled:
    """Reads what the index is compared with, and rebuilt from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self) -> list[PoolCount]:
        """Of each queue that has jobs of pools; two looks, a moment apart."""
        active = await self._database.read(statement("pool_counts"), {})
        leases = await self._database.read(statement("pool_leased"), {})
        leased = {(namespace, queue): count for namespace, queue, count in leases}
        return [
            PoolCount(
                namespace, queue, max(0, count - leased.get((namespace, queue), 0)), leased.get((namespace, queue), 0)
            )
            for namespace, queue, count in active
        ]

    async def page(self, namespace: str, queue: str, after: Standing | None = None, most: int = 5000) -> list[Standing]:
        """The next jobs of a queue, best first: queued, scheduled and running. A job that gets another priority
        meanwhile may be missed, or told twice."""
        place = (after.priority, after.id) if after is not None else (ABOVE_ALL, LEAST_ID)
        parameters = {"namespace": namespace, "queue": queue, "priority": place[0], "id": place[1], "most": most}
        return [as_standing(row) for row in await self._database.read(statement("pool_backlog"), parameters)]

    async def leases(self, job_ids: Sequence[UUID]) -> dict[UUID, OpenLease]:
        """The open leases among these jobs."""
        rows = await self._database.read(statement("leases_of"), {"ids": list(job_ids)})
        return {job: OpenLease(id=job, attempt=attempt, seconds=seconds) for job, attempt, seconds in rows}
