"""Makes AIJobs of the best jobs that wait, as many as fit into the windows of their queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from muster_api.jobs import AIJob
from muster_api.phases import JobPhase
from muster_api.reasons import Reason
from muster_kube.backoff import Backoff
from muster_kube.clock import Clock
from muster_kube.errors import ApiError, Invalid, NotFound
from muster_kube.tracing import NO_TRACER, Tracer, follow
from muster_queue.dispatch.feed import Feed
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.mirroring import HOLDER
from muster_queue.dispatch.objects import ForeignObjectError, JobObjects
from muster_queue.dispatch.settings import DispatchSettings
from muster_queue.dispatch.window import chosen
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change, Job, Made
from muster_queue.storage.reflections import Reflections

log = structlog.get_logger(__name__)

ACTOR: Final = Actor(name=HOLDER, action="materialise")
MOST_AT_ONCE: Final = 100
"""After so many the others are looked at again: a better one may have come."""
LONGEST_REST: Final = 60.0


class Materialiser:
    """Nothing is lost or doubled wherever it dies: making an AIJob twice finds the first."""

    def __init__(
        self,
        settings: DispatchSettings,
        feed: Feed,
        reflections: Reflections,
        jobs: Jobs,
        mover: Mover,
        objects: JobObjects,
        metrics: DispatchMetrics,
        clock: Clock,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._reflections = reflections
        self._jobs = jobs
        self._mover = mover
        self._objects = objects
        self._metrics = metrics
        self._clock = clock
        self._tracer = tracer
        self._resting: dict[UUID, float] = {}
        self._patience: dict[UUID, Backoff] = {}

    async def round(self) -> None:
        """One look at the backlog."""
        window = self._settings.dispatch_window
        # Those that rest keep no place from others.
        found = await self._reflections.candidates(window + len(self._resting))
        now = self._clock.monotonic()
        self._resting = {job_id: until for job_id, until in self._resting.items() if until > now}
        ready = [candidate for candidate in found if candidate.id not in self._resting]
        picked = chosen(ready, self._feed.waiting(), window)[:MOST_AT_ONCE]
        if picked:
            await self._make_all([candidate.id for candidate in picked])
        if len(picked) < MOST_AT_ONCE:
            await asyncio.sleep(self._settings.dispatch_interval)

    async def _make_all(self, job_ids: Sequence[UUID]) -> None:
        found = await self._jobs.find(job_ids)
        jobs = [found[job_id] for job_id in job_ids if job_id in found and _is_wanted(found[job_id])]
        slots = asyncio.Semaphore(self._settings.dispatch_concurrency)

        async def make(job: Job) -> AIJob | Change | None:
            async with slots:
                return await self._make_traced(job)

        outcomes = await asyncio.gather(*map(make, jobs))
        made = {job.id: one for job, one in zip(jobs, outcomes, strict=True) if isinstance(one, AIJob)}
        try:
            await self._reflections.mark_made([Made(id=job_id, uid=one.metadata.uid) for job_id, one in made.items()])
        finally:
            # Also unmarked they wait in their window, and the mirror marks them.
            for one in made.values():
                self._feed.see_answer(one)
        await self._refuse([one for one in outcomes if isinstance(one, Change)])

    async def _make_traced(self, job: Job) -> AIJob | Change | None:
        attributes = {"muster.namespace": job.namespace, "muster.job": job.name, "muster.job_id": str(job.id)}
        span = follow(self._tracer, "make AIJob", job.trace, attributes)
        outcome = await self._make(job)
        span.end(_why_not(outcome))
        return outcome

    async def _make(self, job: Job) -> AIJob | Change | None:
        """The AIJob, or why there can be none; None where it has to be tried again later."""
        try:
            made = await self._objects.create(job)
        except ForeignObjectError as error:
            # Its name belongs to the other one, which is to be seen over REST as well.
            return _failed(job, Reason.NAME_TAKEN, str(error), is_gone=True)
        except (Invalid, msgspec.DecodeError, msgspec.ValidationError) as error:
            return _failed(job, Reason.INVALID, f"no AIJob can be made of it: {error}")
        except NotFound:
            return _failed(job, Reason.INVALID, f"there is no namespace {job.namespace}")
        except ApiError as error:
            self._rest(job, error)
            return None
        self._patience.pop(job.id, None)
        self._metrics.materialised.inc()
        waited = self._clock.now() - (job.queued_at or job.created_at)
        self._metrics.latency.observe(max(0.0, waited.total_seconds()))
        return made

    async def _refuse(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        outcome = await self._mover.move(changes, ACTOR)
        self._metrics.refused.inc(len(outcome.moved))

    def _rest(self, job: Job, error: ApiError) -> None:
        patience = self._patience.setdefault(job.id, Backoff(longest=LONGEST_REST))
        delay = patience.next_delay()
        self._resting[job.id] = self._clock.monotonic() + delay
        log.warning(
            "AIJob cannot be made now", namespace=job.namespace, job=job.name, error=str(error), again_after=delay
        )


def _why_not(outcome: AIJob | Change | None) -> str:
    """Why there is no AIJob; empty where there is one."""
    match outcome:
        case AIJob():
            return ""
        case Change(message=message):
            return message or "refused"
        case _:
            return "not made now, but later"


def _is_wanted(job: Job) -> bool:
    return job.phase is JobPhase.QUEUED and job.object_uid is None and job.gone_at is None


def _failed(job: Job, reason: Reason, message: str, *, is_gone: bool = False) -> Change:
    return Change(
        job_id=job.id,
        version=job.version,
        target=JobPhase.FAILED,
        reason=reason,
        message=message[:1024],
        is_gone=is_gone,
        is_mirror=True,
    )
