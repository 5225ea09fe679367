"""Jobs and their AIJobs: which have one, which are to get one, and what these have not been told yet."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final
from uuid import UUID

import msgspec

from muster_queue.storage.database import Database, Record
from muster_queue.storage.jobs import LEAST_ID
from muster_queue.storage.records import Made, PodCandidate, QueueHead, Reflection, Told, encode_rows
from muster_queue.storage.statements import statement

MOST_PER_PAGE: Final = 500

_id: Final = attrgetter("id")


class Reflections:
    """Adapter of the leader. Marks are no transitions: they change neither version nor history, and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, job_ids: Sequence[UUID]) -> dict[UUID, Reflection]:
        """Those of the jobs that exist."""
        rows = await self._database.read_records(statement("reflections"), {"ids": list(job_ids)})
        return {row["id"]: _reflection(row) for row in rows}

    async def page(self, after: UUID = LEAST_ID, most: int = MOST_PER_PAGE) -> list[Reflection]:
        """The next jobs by id that have an AIJob, as far as is known here."""
        rows = await self._database.read_records(statement("reflections_page"), {"after": after, "most": most})
        return [_reflection(row) for row in rows]

    async def wished(self, after: UUID = LEAST_ID, most: int = MOST_PER_PAGE) -> list[Reflection]:
        """The next jobs by id whose AIJobs do not say yet what was asked for."""
        rows = await self._database.read_records(statement("reflections_wished"), {"after": after, "most": most})
        return [_reflection(row) for row in rows]

    async def candidates(self, most: int) -> list[PodCandidate]:
        """The best jobs of each queue that have no AIJob yet, so many of each at most."""
        rows = await self._database.read_records(statement("pod_candidates"), {"most": most})
        return [msgspec.convert(row, PodCandidate) for row in rows]

    async def heads(self) -> list[QueueHead]:
        """The jobs that go next in their queues, as far as Postgres says which: AIJobs are ordered by the planner."""
        rows = await self._database.read_records(statement("heads"), {})
        return [msgspec.convert(row, QueueHead) for row in rows]

    async def mark_made(self, made: Sequence[Made]) -> set[UUID]:
        """From now on these AIJobs stand for the jobs; answers with those of the jobs that are not gone."""
        return await self._mark("mark_made", "made", sorted(made, key=_id))

    async def mark_carried(self, carried: Sequence[Reflection]) -> set[UUID]:
        """The AIJobs say all that these jobs said; who was changed since stays as it is."""
        rows = [{"id": one.id, "version": one.version} for one in sorted(carried, key=_id)]
        return await self._mark("mark_carried", "carried", rows)

    async def mark_told(self, told: Sequence[Told]) -> set[UUID]:
        """The jobs give the reasons that their AIJobs give."""
        return await self._mark("mark_told", "told", sorted(told, key=_id), relaxed=True)

    async def _mark(self, name: str, parameter: str, rows: Sequence[object], *, relaxed: bool = False) -> set[UUID]:
        if not rows:
            return set()
        parameters = {parameter: encode_rows(rows)}
        found = await self._database.write(statement(name), parameters, is_repeatable=True, relaxed=relaxed)
        return {job_id for (job_id,) in found}


def _reflection(row: Record) -> Reflection:
    return msgspec.convert(row, Reflection)
