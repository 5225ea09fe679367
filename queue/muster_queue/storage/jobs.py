"""Reads jobs: one by one, as lists a page at a time, as counts, and as what the index is rebuilt from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from muster_api.phases import JobPhase
from muster_queue.storage.database import Database, Record
from muster_queue.storage.errors import NotFound
from muster_queue.storage.identifiers import first_id_at, made_at
from muster_queue.storage.records import Attempt, Event, Job, JobFilter, QueueCount, Standing
from muster_queue.storage.statements import statement
from muster_queue.storage.transitions import SHELVES, STARTED, Shelf

LEAST_ID: Final = UUID(int=0)
GREATEST_ID: Final = UUID(int=(1 << 128) - 1)
CLOCK_ALLOWANCE: Final = timedelta(hours=1)
"""By how much the clock that made an id may be ahead of the database's, which writes the events."""
MOST_PER_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class BacklogPlace:
    """Where a page of the backlog ended."""

    namespace: str = ""
    queue: str = ""
    id: UUID = LEAST_ID


class Jobs:
    """Everything that is asked about jobs; nothing here writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: UUID) -> Job:
        """The job as it stands; raises NotFound."""
        rows = await self._database.read_records(statement("get_job"), {"id": job_id})
        if not rows:
            raise NotFound(job_id)
        return as_job(rows[0])

    async def find(self, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
        """Those of the jobs that exist."""
        rows = await self._database.read_records(statement("get_jobs"), {"ids": list(job_ids)})
        return {row["id"]: as_job(row) for row in rows}

    async def named(self, namespace: str, name: str) -> Job | None:
        """The job that has this name now."""
        parameters = {"namespace": namespace, "name": name}
        rows = await self._database.read_records(statement("get_job_by_name"), parameters)
        return as_job(rows[0]) if rows else None

    async def page(self, wanted: JobFilter, most: int, before: UUID | None = None) -> list[Job]:
        """The newest jobs that pass the filter and are older than `before`: the last id of the page that came first."""
        parameters = _parameters(wanted, min(most, MOST_PER_PAGE), before)
        if wanted.labels:
            name = "list_labelled"
            if parameters["namespaces"] is None:
                found = await self._database.read(statement("namespaces"), {})
                parameters["namespaces"] = [namespace for (namespace,) in found]
        else:
            name = "list_started" if wanted.phases <= STARTED else "list_shelves"
        return [as_job(row) for row in await self._database.read_records(statement(name), parameters)]

    async def dead_letters(
        self, namespaces: tuple[str, ...] | None, most: int, before: UUID | None = None
    ) -> list[Job]:
        """Jobs that have used up their retries, the newest first."""
        wanted = JobFilter(namespaces=namespaces, phases=frozenset({JobPhase.DEAD_LETTER}))
        return await self.page(wanted, most, before)

    async def history(self, job_id: UUID, after_version: int = 0, most: int = 1000) -> list[Event]:
        """The events of a job in order, the submission first; raises NotFound."""
        job = await self.get(job_id)
        parameters = {"id": job_id, "after": max(1, after_version), "since": _since(job_id), "most": most}
        rows = await self._database.read_records(statement("history"), parameters)
        events = [msgspec.convert(row, Event) for row in rows]
        return events if after_version >= 1 else [submission_event(job, events), *events]

    async def attempts(self, job_id: UUID, most: int = 100) -> list[Attempt]:
        """The attempts of a job, the last one first."""
        rows = await self._database.read_records(statement("attempts"), {"id": job_id, "most": most})
        return [as_attempt(row) for row in rows]

    async def due(self, most: int = 500) -> list[Job]:
        """Jobs whose back-off is over, or that have waited or run too long by their own limits."""
        rows = await self._database.read_records(statement("due"), {"most": most})
        return [as_job(row) for row in rows]

    async def backlog(self, after: BacklogPlace, most: int = 10_000) -> tuple[list[Standing], BacklogPlace | None]:
        """A page of the queued jobs, and where the next one begins; None when this was the last."""
        parameters = {"namespace": after.namespace, "queue": after.queue, "id": after.id, "most": most}
        rows = await self._database.read(statement("backlog"), parameters)
        if not rows:
            return [], None
        last = rows[-1]
        standing = [as_standing(row) for row in rows if row[8] == JobPhase.QUEUED]
        return standing, BacklogPlace(last[1], last[2], last[0])

    async def standing(self, job_ids: Sequence[UUID]) -> list[Standing]:
        """What the index has to know of these jobs; those that are gone are left out."""
        rows = await self._database.read(statement("standing"), {"ids": list(job_ids)})
        return [as_standing(row) for row in rows]

    async def oldest_queued(self, places: Collection[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
        """Since when the longest queued job waits, of these namespaces' queues; those where none waits are left out."""
        parameters = {"namespaces": [place[0] for place in places], "queues": [place[1] for place in places]}
        rows = await self._database.read(statement("oldest_queued"), parameters)
        return {(namespace, queue): created_at for namespace, queue, created_at in rows}

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, tuple[int, JobPhase]]:
        """How far these jobs have come; those that are forgotten are left out."""
        rows = await self._database.read(statement("versions"), {"ids": list(job_ids)})
        return {job_id: (version, JobPhase(phase)) for job_id, version, phase in rows}

    async def counts(self, namespaces: tuple[str, ...] | None = None) -> list[QueueCount]:
        """How full each queue is: a look at one index, which takes a moment with a million jobs."""
        parameters = {"namespaces": None if namespaces is None else list(namespaces)}
        open_attempts = await self._database.read(statement("count_open"), parameters)
        shelves = await self._database.read(statement("count_shelves"), parameters)
        started = {(namespace, queue): count for namespace, queue, count in open_attempts}
        counts: dict[tuple[str, str], dict[Shelf, tuple[int, UUID]]] = {}
        for shelf, namespace, queue, count, oldest in shelves:
            counts.setdefault((namespace, queue), {})[Shelf(shelf)] = (count, oldest)
        return [_queue_count(place, found, started.get(place, 0)) for place, found in sorted(counts.items())]


def as_job(row: Record) -> Job:
    """The record as a value; JSON columns arrive as they were stored."""
    labels = msgspec.json.decode(row["labels"]) if row["labels"] is not None else {}
    return msgspec.convert({**row, "labels": labels}, Job)


def as_attempt(row: Record) -> Attempt:
    """The same for an attempt."""
    result = msgspec.Raw(b"null") if row["result"] is None else row["result"]
    return msgspec.convert({**row, "result": result}, Attempt)


def submission_event(job: Job, later: Sequence[Event] = ()) -> Event:
    """The first event, which is in the job's own row; where the next came from tells where it began."""
    return Event(
        job_id=job.id,
        version=1,
        time=job.created_at,
        namespace=job.namespace,
        source=None,
        target=later[0].source or JobPhase.QUEUED if later and later[0].version == 2 else job.phase,
        reason="Submitted",
        message="",
        attempt=0,
        actor=job.submitter,
    )


def _parameters(wanted: JobFilter, most: int, before: UUID | None) -> dict[str, Any]:
    end = GREATEST_ID if wanted.until is None else first_id_at(wanted.until)
    labels = [f"{key}={value}" for key, value in wanted.labels]
    return {
        "namespaces": None if wanted.namespaces is None else list(wanted.namespaces),
        "shelves": sorted({int(SHELVES[phase]) for phase in wanted.phases}),
        "phases": sorted(wanted.phases),
        "job_type": wanted.job_type,
        "queue": wanted.queue,
        "label": labels[0] if labels else None,
        "labels": labels[1:],
        "since": UUID(int=0) if wanted.since is None else first_id_at(wanted.since),
        "before": end if before is None else min(before, end),
        "with_gone": wanted.with_gone,
        "most": most,
    }


def _since(job_id: UUID) -> datetime:
    return made_at(job_id) - CLOCK_ALLOWANCE


def as_standing(row: tuple[Any, ...]) -> Standing:
    """What the index has to know of the job of this row."""
    job_id, namespace, queue, execution, priority, attempt, queued_at, created_at, phase = row
    return Standing(
        id=job_id,
        namespace=namespace,
        queue=queue,
        execution=execution,
        priority=priority,
        attempt=attempt,
        queued_at=queued_at,
        created_at=created_at,
        phase=JobPhase(phase),
    )


def _queue_count(place: tuple[str, str], found: dict[Shelf, tuple[int, UUID]], started: int) -> QueueCount:
    oldest = found.get(Shelf.ACTIVE)
    return QueueCount(
        namespace=place[0],
        queue=place[1],
        active=found[Shelf.ACTIVE][0] if oldest else 0,
        started=started,
        parked=found.get(Shelf.PARKED, (0, None))[0],
        dead_letters=found.get(Shelf.DEAD_LETTER, (0, None))[0],
        oldest_active=made_at(oldest[1]) if oldest else None,
    )
