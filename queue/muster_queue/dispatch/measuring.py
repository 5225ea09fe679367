"""Brings the gauges of the queue service up to date now and then."""

from __future__ import annotations

import asyncio
from typing import Final

from muster_kube.clock import Clock
from muster_queue.dispatch.feed import Feed
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.window import head_age
from muster_queue.index.reconciler import Reconciler
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.reflections import Reflections

PAUSE_SECONDS: Final = 15.0


class Measurer:
    """A few looks at indexes; a scrape asks no database."""

    def __init__(
        self,
        reflections: Reflections,
        outbox: Outbox,
        feed: Feed,
        reconciler: Reconciler | None,
        metrics: DispatchMetrics,
        clock: Clock,
    ) -> None:
        self._reflections = reflections
        self._outbox = outbox
        self._feed = feed
        self._reconciler = reconciler
        self._metrics = metrics
        self._clock = clock

    async def round(self) -> None:
        metrics, now = self._metrics, self._clock.now()
        metrics.head_of_queue.set(head_age(await self._reflections.heads(), self._feed.waiting(), now))
        rows, age = await self._outbox.depth()
        metrics.relay_backlog.set(rows)
        metrics.relay_age.set(age)
        metrics.uncompared.set(self._feed.pending())
        if self._reconciler is not None:
            drifts = self._reconciler.drifts().values()
            metrics.index_drift.set(sum(abs(drift.waiting) + abs(drift.leased) for drift in drifts))
        await asyncio.sleep(PAUSE_SECONDS)
