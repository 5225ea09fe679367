"""The parts of the api and of the leader that a pool's jobs live on, in one process that can crash."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from bones.redis_servers import RedisServer
from bones.storing import IDS, open_database
from muster_kube.clock import SystemClock
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.relay import Relay
from muster_queue.dispatch.timekeeper import Timekeeper
from muster_queue.dispatch.truth import PostgresTruth
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.reconciler import Reconciler
from muster_queue.intake.intake import Intake
from muster_queue.intake.receipts import Receipt
from muster_queue.intake.settings import IntakeSettings
from muster_queue.pools.expiry import after_silence
from muster_queue.pools.index_upkeep import IndexUpkeep
from muster_queue.pools.pools import Pools
from muster_queue.pools.settings import PoolSettings
from muster_queue.rest.pool_service import LeaseAnswer, LeaseRequest, PoolName, WorkerIdentity
from muster_queue.service.index_feed import IndexFeed
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.pooled import Pooled
from muster_queue.storage.records import ExpiredAttempt, NewJob, Request, StoredBatch
from muster_queue.storage.reflections import Reflections
from muster_queue.storage.submissions import Submissions

QUEUE = QueueKey("team-a", "default")
POOL = PoolName(namespace="team-a", queue="default")
SETTINGS = PoolSettings(lease_seconds=3600, database_look=0.001, first_look=0.001, sweep=0.05)
NO_PAUSE = 0.0
PATIENCE = 20.0


class QueueParts:
    """Made anew after each crash: what is not in the stores is gone."""

    def __init__(self, database: Database, calls: Calls) -> None:
        self.database = database
        self.calls = calls
        self.index = QueueIndex(calls)
        self.jobs = Jobs(database)
        self.pools = Pools(database, self.index, SETTINGS, SystemClock(), CollectorRegistry())
        self.feed = IndexFeed(self.index, Outbox(database), self.pools.awaken)
        self.is_feeding = True
        self.intake = Intake(Submissions(database), self.jobs, IntakeSettings(), on_stored=self._feed, ids=IDS)
        self._running: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, database_url: str, redis: RedisServer) -> QueueParts:
        database = open_database(database_url)
        await database.open()
        parts = cls(database, Calls.to(IndexSettings(url=SecretStr(redis.url))))
        works = (parts.pools.run(), parts.feed.run(), parts.intake.run())
        parts._running = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(0)
        return parts

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        _, hanging = await asyncio.wait(self._running, timeout=PATIENCE)
        assert not hanging, [told for task in asyncio.all_tasks() for told in traceback.format_list(stack_of(task))]
        await self.calls.close()
        await self.database.close()

    def _feed(self, jobs: Sequence[NewJob], batch: StoredBatch) -> None:
        if self.is_feeding:
            self.feed.note(jobs, batch)

    async def submit(self, request: Request, *, is_told: bool) -> Receipt:
        """With or without the index hearing of it at once."""
        self.is_feeding = is_told
        return await self.intake.submit(request)

    async def lease(self, worker: WorkerIdentity, name: str, most: int) -> list[LeaseAnswer]:
        """What the index does not know is found in Postgres: two looks are enough."""
        wanted = LeaseRequest(worker=name, most=most, wait_seconds=0.02)
        return await self.pools.lease(POOL, worker, wanted) or await self.pools.lease(POOL, worker, wanted)

    async def relay(self) -> None:
        """All that is in the outbox, as the leader does it once nobody else has for a while."""
        outbox = Outbox(self.database)
        await self.database.write(
            b"update muster.outbox set created_at = created_at - interval '1 hour' returning 1", {}
        )
        relay = Relay(outbox, self.jobs, self.index, NO_PAUSE)
        while await outbox.pending(most=1):
            await relay.round()

    async def repair(self) -> None:
        """What the index has lost comes back: by the leader, and by whoever hands out."""
        reconciler = Reconciler(self.calls, PostgresTruth(self.jobs, Pooled(self.database)))
        assert all(repair.complete for repair in await reconciler.round())
        await IndexUpkeep(self.index, self.jobs, SETTINGS.lease_seconds).sweep(QUEUE)

    async def look_at_the_clock(self) -> None:
        """At leases that are over and at pauses that are, as the leader does."""
        metrics = DispatchMetrics(CollectorRegistry())
        mover, attempts = Mover(self.database), Attempts(self.database)
        times = Timekeeper(self.jobs, attempts, mover, Reflections(self.database), metrics, NO_PAUSE)
        await times.take_back()
        await times.wake()

    async def lapsed(self) -> list[ExpiredAttempt]:
        """What the leader sees of leases that are over; what it does then is `take_back`."""
        return await Attempts(self.database).expired()

    async def take_back(self, seen: Sequence[ExpiredAttempt]) -> int:
        outcome = await Attempts(self.database).expire([after_silence(each) for each in seen], "leader")
        return len(outcome.moved)

    async def end_lease(self, job_id: UUID, attempt: int) -> None:
        """By the database's clock, which nobody waits for."""
        late = b"update muster.dispatches set lease_until = now() - interval '1 second' where job_id = %(id)s"
        which = {"id": job_id, "attempt": attempt}
        await self.database.write(late + b" and attempt = %(attempt)s returning 1", which)

    async def end_pause(self, job_id: UUID) -> None:
        """As `end_lease`, for the time at which a job is to be looked at."""
        due = b"update muster.jobs set wake_at = now() - interval '1 second' where id = %(id)s and wake_at is not null"
        await self.database.write(due + b" returning 1", {"id": job_id})

    async def open_attempts(self, job_ids: list[UUID]) -> dict[UUID, int]:
        rows = await self.database.read(
            b"select job_id, count(*) from muster.dispatches"
            b" where ended_at is null and job_id = any(%(ids)s) group by 1",
            {"ids": job_ids},
        )
        return dict(rows)


def stack_of(task: asyncio.Task[Any]) -> traceback.StackSummary:
    """Where it waits."""
    return traceback.StackSummary.extract((frame, frame.f_lineno) for frame in task.get_stack())
