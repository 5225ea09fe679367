"""Wakes jobs whose time is over, and takes attempts back from workers that have fallen silent."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from muster_queue.dispatch.lapsing import after_waiting, has_aijob, is_overdue
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.mirroring import HOLDER
from muster_queue.pools.expiry import after_silence, after_timeout
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Job, Made
from muster_queue.storage.reflections import Reflections

log = structlog.get_logger(__name__)

ACTOR: Final = Actor(name="muster-controller", action="wake")
MOST: Final = 500
PAUSE_SECONDS: Final = 0.5


class Timekeeper:
    """By the database's clock alone; each change is fenced by the state that it was decided on."""

    def __init__(
        self,
        jobs: Jobs,
        attempts: Attempts,
        mover: Mover,
        reflections: Reflections,
        metrics: DispatchMetrics,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._attempts = attempts
        self._mover = mover
        self._reflections = reflections
        self._metrics = metrics
        self._pause_seconds = pause_seconds

    async def wake(self) -> None:
        """One look at what is due."""
        due = await self._jobs.due(MOST)
        await self._leave_to_kubernetes([job for job in due if has_aijob(job)])
        own = [job for job in due if not has_aijob(job)]
        overdue = [after_timeout(job) for job in own if is_overdue(job)]
        if overdue:
            await self._attempts.fail(overdue, ACTOR.name)
        changes = [change for job in own if not is_overdue(job) and (change := after_waiting(job)) is not None]
        if changes:
            await self._mover.move(changes, ACTOR)
        self._metrics.due.inc(len(overdue) + len(changes))
        if len(due) < MOST:
            await asyncio.sleep(self._pause_seconds)

    async def take_back(self) -> None:
        """One look at leases that are over."""
        expired = await self._attempts.expired(MOST)
        if expired:
            outcome = await self._attempts.expire([after_silence(attempt) for attempt in expired], ACTOR.name)
            self._metrics.expired.inc(len(outcome.moved))
        if len(expired) < MOST:
            await asyncio.sleep(self._pause_seconds)

    async def _leave_to_kubernetes(self, jobs: list[Job]) -> None:
        """Their AIJobs keep their time."""
        await self._reflections.mark_made(
            [Made(id=job.id, uid=job.object_uid or HOLDER, is_ours=False) for job in jobs]
        )
