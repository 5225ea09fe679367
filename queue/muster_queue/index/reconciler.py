"""Keeps the index in step with Postgres: looks at markers and counts, and repairs the queues that it doubts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from uuid import uuid4

import msgspec
import structlog

from muster_queue.index.calls import Calls
from muster_queue.index.errors import IndexAway, IndexFailure, RebuildLost, TruthAway
from muster_queue.index.judgement import Doubt, Drift, Tolerance, doubt_of, drift_of, has_drifted
from muster_queue.index.keys import QueueKey
from muster_queue.index.markers import WHOLE, Rebuild, examine, place_of
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.repairing import QueueRepair, Repair
from muster_queue.index.truth import Tally, Truth

log = structlog.get_logger(__name__)


class Rhythm(msgspec.Struct, frozen=True):
    """How often it looks."""

    glance_seconds: float = 1.0
    """At the one marker of the whole index."""
    round_seconds: float = 15.0
    """At every queue, its counts included."""


class Reconciler:
    """One of them works at a time for a queue; further ones see that and leave it alone."""

    def __init__(self, calls: Calls, truth: Truth, tolerance: Tolerance | None = None) -> None:
        self._calls = calls
        self._truth = truth
        self._index = QueueIndex(calls)
        self._tolerance = tolerance or Tolerance()
        self._looks: dict[QueueKey, deque[Drift]] = {}
        self._token = uuid4().hex

    async def run(self, rhythm: Rhythm | None = None) -> None:
        """Goes on until it is cancelled; what is away is asked again later."""
        rhythm = rhythm or Rhythm()
        due = 0.0
        while True:
            try:
                if time.monotonic() >= due or await self.glance() is not None:
                    complete = all(repair.complete for repair in await self.round())
                    due = time.monotonic() + (rhythm.round_seconds if complete else 0.0)
            except (IndexFailure, TruthAway) as error:
                log.warning("index not compared", error=str(error))
            await asyncio.sleep(rhythm.glance_seconds)

    async def glance(self) -> Doubt | None:
        """Whether all of it is in doubt: one question, however many queues there are."""
        return doubt_of(await examine(self._calls, WHOLE))

    def drifts(self) -> dict[QueueKey, Drift]:
        """How far each queue was from Postgres when it was last looked at, for metrics."""
        return {queue: looks[-1] for queue, looks in self._looks.items() if looks}

    async def round(self) -> list[Repair]:
        """Looks at every queue, repairs those in doubt, and tells what was done."""
        examination = await examine(self._calls, WHOLE)
        whole = Rebuild(self._calls, WHOLE, examination.identity, self._token)
        mine = [whole] if doubt_of(examination) and await whole.begin() else []
        repairs, seen = [], set()
        async for told in self._truth.queues():
            seen.add(told.queue)
            repair = await self._look(told, mine)
            if repair is not None:
                repairs.append(repair)
                _tell(repair)
        self._looks = {queue: looks for queue, looks in self._looks.items() if queue in seen}
        if mine and all(repair.complete for repair in repairs):
            await _end(whole)
        return repairs

    async def _look(self, told: Tally, whole: Sequence[Rebuild]) -> Repair | None:
        try:
            doubt = await self._doubt(told)
            return await self._repair(told.queue, doubt, whole) if doubt else None
        except IndexAway:
            raise
        except IndexFailure as error:
            # A key that somebody else has written, say: the other queues go on.
            return Repair(told.queue, Doubt.DRIFTED, problem=str(error))

    async def _doubt(self, told: Tally) -> Doubt | None:
        by_marker = doubt_of(await examine(self._calls, place_of(told.queue)))
        if by_marker is not None:
            return by_marker
        looks = self._looks.setdefault(told.queue, deque(maxlen=self._tolerance.looks))
        looks.append(drift_of(told, await self._index.measure(told.queue)))
        return Doubt.DRIFTED if has_drifted(tuple(looks), self._tolerance) else None

    async def _repair(self, queue: QueueKey, doubt: Doubt, whole: Sequence[Rebuild]) -> Repair:
        self._looks.pop(queue, None)
        place = place_of(queue)
        rebuild = Rebuild(self._calls, place, (await examine(self._calls, place)).identity, self._token)
        if not await rebuild.begin():
            return Repair(queue, doubt, problem="somebody else rebuilds it")
        work = QueueRepair(self._calls, self._truth, queue, [rebuild, *whole])
        try:
            await work.fill()
            if doubt is not Doubt.EMPTIED:
                await work.sweep()
            await rebuild.end()
        except RebuildLost:
            return Repair(queue, doubt, problem="the store lost data meanwhile", **msgspec.structs.asdict(work.counts))
        return Repair(queue, doubt, complete=True, **msgspec.structs.asdict(work.counts))


def _tell(repair: Repair) -> None:
    fields = msgspec.to_builtins(repair) | {"queue": str(repair.queue)}
    if repair.complete:
        log.info("index repaired", **fields)
    else:
        log.warning("index not repaired yet", **fields)


async def _end(whole: Rebuild) -> None:
    try:
        await whole.end()
    except RebuildLost:
        log.warning("the index lost data while it was repaired")
