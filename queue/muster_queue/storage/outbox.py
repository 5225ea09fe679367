"""The outbox: which jobs the index has not been told of; and what is swept away once it is old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muster_queue.storage.database import Database
from muster_queue.storage.statements import statement


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """Jobs that one commit has changed: look at them again and make the index say the same."""

    id: int
    job_ids: tuple[UUID, ...]


class Outbox:
    """Whoever writes tells the index at once and settles; the relay takes what is left over after a crash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, older_than_seconds: float = 1.0, most: int = 100) -> list[OutboxRow]:
        """Rows that nobody has settled in time, the oldest first."""
        parameters = {"seconds": older_than_seconds, "most": most}
        rows = await self._database.read(statement("outbox_pending"), parameters)
        return [OutboxRow(row_id, tuple(job_ids)) for row_id, job_ids in rows]

    async def settle(self, row_ids: Sequence[int]) -> int:
        """Forgets rows that the index knows of. It waits for no disk: telling the index twice does no harm."""
        parameters = {"ids": list(row_ids)}
        return len(await self._database.write(statement("outbox_settle"), parameters, is_repeatable=True, relaxed=True))


class Housekeeping:
    """Keeps room for the events to come, and takes away what is older than it is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare_events(self, months_ahead: int = 2) -> int:
        """Makes the partitions of this month and the next ones; returns how many were missing."""
        ((made,),) = await self._database.write(
            b"select muster.prepare_event_partitions(%(months)s)", {"months": months_ahead}, is_repeatable=True
        )
        return int(made)

    async def drop_events(self, before: datetime) -> int:
        """Drops the months of events that ended before; returns how many."""
        ((dropped,),) = await self._database.write(
            b"select muster.drop_event_partitions(%(before)s)", {"before": before}, is_repeatable=True
        )
        return int(dropped)

    async def forget_jobs(self, gone_before: datetime, most: int = 1000) -> int:
        """Forgets jobs whose objects were deleted long ago, with their attempts; returns how many."""
        ((forgotten,),) = await self._database.write(
            b"select muster.forget_jobs(%(before)s, %(most)s)",
            {"before": gone_before, "most": most},
            is_repeatable=True,
        )
        return int(forgotten)
