"""Keeps the database tidy: partitions for the events to come, and nothing longer than it is kept."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from muster_kube.clock import Clock, SystemClock
from muster_queue.storage.database import Database
from muster_queue.storage.errors import StorageError
from muster_queue.storage.settings import StorageSettings
from muster_queue.storage.submissions import Submissions

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 600.0
MOST_AT_ONCE: Final = 1000


class Housekeeping:
    """Any process may run it, and several at once: each step is a statement that can be done twice."""

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

    async def tidy(self, settings: StorageSettings, now: datetime) -> None:
        """One round of all of it, in short statements."""
        await self.prepare_events()
        await self.drop_events(now - timedelta(days=settings.keep_events_days))
        keys = Submissions(self._database)
        while await keys.forget_keys(settings.keep_keys_hours * 3600.0, MOST_AT_ONCE) == MOST_AT_ONCE:
            continue
        gone_before = now - timedelta(days=settings.keep_gone_jobs_days)
        while await self.forget_jobs(gone_before, MOST_AT_ONCE) == MOST_AT_ONCE:
            continue

    async def run(self, settings: StorageSettings, clock: Clock | None = None) -> None:
        """Tidies for ever; what cannot be done now is done the next time."""
        clock = clock or SystemClock()
        while True:
            try:
                await self.tidy(settings, clock.now())
            except StorageError as error:
                log.warning("database cannot be tidied now", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
