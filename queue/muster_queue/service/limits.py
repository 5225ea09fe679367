"""What a tenant may ask for: so many jobs a second, and so many that wait. Decided before any work is done."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from muster_kube.clock import Clock
from muster_queue.identity.caches import SharedCalls
from muster_queue.identity.pace import Pace
from muster_queue.index.buckets import Rate, TenantBuckets
from muster_queue.index.errors import IndexFailure
from muster_queue.rest.service_errors import Overloaded
from muster_queue.service.counting import QueueCounts
from muster_queue.service.local_pace import LocalPace
from muster_queue.service.settings import TenantSettings

log = structlog.get_logger(__name__)

SUBMIT: Final = "submit"
ADVANCE_SECONDS: Final = 0.1
"""A process fetches the tokens of so long at a time: one call to Redis for hundreds of submissions."""
PATIENCE_SECONDS: Final = 0.1
"""How long a submission waits for Redis before its replica counts alone."""
AWAY_SECONDS: Final = 2.0
TRIES: Final = 3
FULL_SECONDS: Final = 5.0
MOST_TENANTS: Final = 100_000


class TenantLimits:
    """Tokens come from Redis in advance; without it each replica counts for itself."""

    def __init__(self, buckets: TenantBuckets, counts: QueueCounts, settings: TenantSettings, clock: Clock) -> None:
        self._buckets = buckets
        self._counts = counts
        self._settings = settings
        self._clock = clock
        self._rate = Rate(settings.jobs_per_second, settings.burst_jobs)
        self._advance = max(1, min(int(settings.jobs_per_second * ADVANCE_SECONDS), settings.burst_jobs))
        self._tokens: dict[str, int] = {}
        self._alone = LocalPace(Pace(rate=settings.jobs_per_second, burst=settings.burst_jobs))
        self._away_until = 0.0
        self._refills: SharedCalls[str, float] = SharedCalls()

    def admit_at_once(self, namespace: str, jobs: int) -> bool:
        """Whether tokens are at hand; raises Overloaded where too many jobs wait already."""
        if self._counts.waiting(namespace) + jobs > self._settings.pending_jobs:
            text = f"{self._settings.pending_jobs} jobs of namespace {namespace} may wait at a time"
            raise Overloaded(FULL_SECONDS, text)
        left = self._tokens.get(namespace, 0) - jobs
        if left < 0:
            return False
        self._tokens[namespace] = left
        return True

    async def admit(self, namespace: str, jobs: int) -> None:
        """Fetches tokens, once for all that wait for them; raises Overloaded where there are none."""
        for _ in range(TRIES):
            wait = await self._refills.result(namespace, lambda: self._refill(namespace, jobs))
            if self.admit_at_once(namespace, jobs):
                return
            if wait > 0:
                raise self._too_fast(namespace, wait)
        # Others were quicker each time: only its own, then.
        wait = await self._charge(namespace, jobs)
        if wait > 0:
            raise self._too_fast(namespace, wait)

    async def close(self) -> None:
        await self._refills.close()

    async def _refill(self, namespace: str, jobs: int) -> float:
        """Zero when there are new tokens, else in how many seconds there may be some."""
        cost = max(jobs, self._advance)
        wait = await self._charge(namespace, cost)
        if wait > 0 and cost > jobs:
            cost = jobs
            wait = await self._charge(namespace, cost)
        if wait > 0:
            return wait
        if len(self._tokens) > MOST_TENANTS:
            self._tokens.clear()
        self._tokens[namespace] = self._tokens.get(namespace, 0) + cost
        return 0.0

    def _too_fast(self, namespace: str, wait: float) -> Overloaded:
        return Overloaded(wait, f"namespace {namespace} may submit {self._settings.jobs_per_second:g} jobs a second")

    async def _charge(self, namespace: str, cost: int) -> float:
        now = self._clock.monotonic()
        if now >= self._away_until:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    charge = await self._buckets.charge(namespace, SUBMIT, self._rate, cost)
            except (IndexFailure, TimeoutError) as error:
                log.warning("tenants are counted without redis", error=str(error) or type(error).__name__)
                self._away_until = self._clock.monotonic() + AWAY_SECONDS
            else:
                return 0.0 if charge.allowed else charge.retry_after_seconds
        return self._alone.wait_for(namespace, cost, now)
