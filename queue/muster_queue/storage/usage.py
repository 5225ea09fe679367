"""What jobs have used, and how long their like takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from muster_queue.storage.database import Database
from muster_queue.storage.identifiers import first_id_at
from muster_queue.storage.statements import statement


@dataclass(frozen=True, slots=True)
class QueueUsage:
    """GPU seconds of the attempts of a queue that ended in a period."""

    namespace: str
    queue: str
    attempts: int
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptUsage:
    """What one attempt has used."""

    attempt: int
    gpus: int
    started_at: datetime
    ended_at: datetime
    gpu_seconds: float


@dataclass(frozen=True, slots=True)
class Runtime:
    """How long attempts of a kind took that succeeded."""

    namespace: str
    queue: str
    job_type: str
    samples: int
    median_seconds: float
    p90_seconds: float
    updated_at: datetime


class Usage:
    """Reads what has been booked, and works runtimes out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_queue(self, namespaces: Sequence[str], since: datetime, until: datetime) -> list[QueueUsage]:
        parameters = {"namespaces": list(namespaces), "since": since, "until": until}
        return [QueueUsage(*row) for row in await self._database.read(statement("usage"), parameters)]

    async def of_job(self, job_id: UUID) -> list[AttemptUsage]:
        return [AttemptUsage(*row) for row in await self._database.read(statement("usage_of_job"), {"id": job_id})]

    async def runtimes(self, namespaces: Sequence[str]) -> list[Runtime]:
        rows = await self._database.read(statement("runtimes"), {"namespaces": list(namespaces)})
        return [Runtime(*row) for row in rows]

    async def learn(self, since: datetime, most: int = 100_000) -> int:
        """Works runtimes out of the newest attempts of jobs submitted since; returns how many kinds there are."""
        parameters = {"since": first_id_at(since), "most": most}
        return len(await self._database.write(statement("learn_runtimes"), parameters, is_repeatable=True))
