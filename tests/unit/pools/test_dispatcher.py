"""Who gets jobs when some of the claims of one round fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry

from muster_kube.clock import SystemClock
from muster_queue.index.errors import IndexAway
from muster_queue.index.keys import QueueKey
from muster_queue.pools.dispatcher import Dispatcher
from muster_queue.pools.metrics import PoolMetrics
from muster_queue.pools.settings import PoolSettings
from muster_queue.pools.waiting import Waiter
from muster_queue.storage.errors import StorageAway
from muster_queue.storage.records import Candidate, Claimed, PoolCandidate

QUEUE = QueueKey("team-a", "default")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim_of(candidate: Candidate) -> Claimed:
    return Claimed(
        id=candidate.id,
        namespace=QUEUE.namespace,
        name=f"job-{candidate.id}",
        queue=QUEUE.name,
        job_type="simulation",
        execution="pool",
        priority=50,
        version=2,
        attempt=1,
        retries=0,
        spec=msgspec.Raw(b"{}"),
        trace=None,
        created_at=NOW,
        queued_at=NOW,
        claimed_at=NOW,
        holder=candidate.holder or "",
    )


class Half:
    """Postgres with two jobs, which goes away after the first claim."""

    def __init__(self) -> None:
        self.claims = 0

    async def pool_candidates(self, *_: object) -> list[PoolCandidate]:
        return [PoolCandidate(id=UUID(int=number), priority=50, attempt=0, queued_at=NOW) for number in (1, 2)]

    async def claim(self, candidates: Sequence[Candidate], **_: object) -> list[Claimed]:
        self.claims += 1
        if self.claims > 1:
            raise StorageAway("shut down")
        return [claim_of(candidate) for candidate in candidates]


class NoIndex:
    """Neither an index nor anybody who would tell it."""

    async def take(self, *_: object) -> None:
        raise IndexAway("away")

    async def give_back(self, *_: object) -> None:
        raise IndexAway("away")

    def claimed(self, *_: object) -> None:
        return


async def test_what_is_claimed_comes_to_its_worker_though_the_claim_for_another_fails() -> None:
    metrics = PoolMetrics(CollectorRegistry())
    dispatcher = Dispatcher(QUEUE, Half(), NoIndex(), NoIndex(), PoolSettings(), SystemClock(), metrics)
    loop = asyncio.get_running_loop()
    first, second = (
        Waiter(holder=f"{name}/worker", actor=name, most=1, job_types=None, answer=loop.create_future())
        for name in ("ada", "bob")
    )
    for waiter in (first, second):
        dispatcher.join(waiter)
    running = asyncio.create_task(dispatcher.run())
    async with asyncio.timeout(10):
        (claimed,) = await first.answer
    assert (claimed.id, claimed.holder) == (UUID(int=1), "ada/worker")
    assert not second.is_gone
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
