"""Events as they happen: one look at Postgres for all jobs that somebody follows, however many follow them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import structlog

from muster_api.phases import JobPhase
from muster_kube.backoff import Backoff
from muster_queue.rest.service import EventAnswer
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.reading import event_answer
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.transitions import ENDED

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.2
PAGE: Final = 200


class _Watched:
    """A job that is followed, and how far it has come."""

    def __init__(self) -> None:
        self.version = 0
        self.followers = 0
        self._news = asyncio.Event()

    def see(self, version: int) -> None:
        if version > self.version:
            self.version = version
            self._news.set()
            self._news = asyncio.Event()

    async def beyond(self, version: int) -> None:
        while self.version <= version:
            await self._news.wait()


class LiveEvents:
    """Looks only while somebody follows; the streams that there may be at once bound what one look costs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._watched: dict[UUID, _Watched] = {}
        self._begun = asyncio.Event()

    async def run(self) -> None:
        """Looks for ever; what cannot be looked at now is looked at later, and nothing is lost in between."""
        pause = Backoff(first=LOOK_SECONDS, longest=5.0)
        while True:
            await self._begun.wait()
            try:
                await self._look()
                pause.reset()
                await asyncio.sleep(LOOK_SECONDS)
            except StorageError as error:
                log.warning("events cannot be looked for now", error=str(error))
                await asyncio.sleep(pause.next_delay())

    async def follow(self, job_id: UUID, after: int) -> AsyncGenerator[EventAnswer, None]:
        """The events after this one and those that come, until the job has ended."""
        with self._watching(job_id) as watched:
            while True:
                with in_words_of_the_api():
                    job = await self._jobs.get(job_id)
                    # Nobody has seen an event that has not happened.
                    after = min(after, job.version)
                    events = await self._jobs.history(job_id, after, PAGE)
                for event in events:
                    after = event.version
                    yield event_answer(event)
                if after >= job.version and job.phase in ENDED:
                    return
                if len(events) < PAGE:
                    await watched.beyond(after)

    async def changed(self, job_id: UUID, version: int) -> None:
        """Returns once the job has left this version."""
        with self._watching(job_id) as watched:
            await watched.beyond(version)

    async def _look(self) -> None:
        found: dict[UUID, tuple[int, JobPhase]] = await self._jobs.versions(list(self._watched))
        for job_id, (version, _) in found.items():
            watched = self._watched.get(job_id)
            if watched is not None:
                watched.see(version)

    @contextmanager
    def _watching(self, job_id: UUID) -> Iterator[_Watched]:
        watched = self._watched.setdefault(job_id, _Watched())
        watched.followers += 1
        self._begun.set()
        try:
            yield watched
        finally:
            watched.followers -= 1
            if not watched.followers:
                self._watched.pop(job_id, None)
            if not self._watched:
                self._begun.clear()
