"""The outbox: which jobs the index has not been told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

    async def depth(self) -> tuple[int, float]:
        """About how many rows there are, and the age of the oldest in seconds."""
        ((rows, seconds),) = await self._database.read(statement("outbox_depth"), {})
        return int(rows), max(0.0, float(seconds))
