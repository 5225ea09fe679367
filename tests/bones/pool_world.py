"""Pools over real HTTP, on a real Postgres and a real Redis: what the api process has of them, and a leader's clock."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from bones.redis_servers import RedisServer
from bones.rest_world import RestWorld, rest_world
from bones.storing import make_job, make_request, open_database
from muster_api.phases import JobPhase
from muster_kube.clock import SystemClock
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.pools.expiry import after_silence
from muster_queue.pools.index_upkeep import entry_of
from muster_queue.pools.pools import Pools
from muster_queue.pools.settings import PoolSettings
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Attempt, Change, Job, NewJob
from muster_queue.storage.submissions import Submissions

POOL = "/api/v1/pools/team-a/default"
QUICK = {"retryPolicy": {"maxRetries": 3, "backoffSeconds": 0}}


def pool_job(priority: int = 50, job_type: str = "simulation", config: Any = None, **spec: Any) -> NewJob:
    """Retried at once unless told otherwise."""
    body = {"jobType": job_type, "execution": "pool", "config": config or {}, **QUICK, **spec}
    raw = msgspec.Raw(msgspec.json.encode(body))
    return make_job(execution="pool", job_type=job_type, priority=priority, spec=raw)


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    async def ask() -> Any:
        return condition()

    await until_async(ask, seconds)


async def until_async(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        for _ in itertools.count():
            if await condition():
                return
            await asyncio.sleep(0.01)


@dataclass
class PoolWorld:
    rest: RestWorld
    pools: Pools
    database: Database
    index: QueueIndex
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    async def submit(self, *jobs: NewJob, tell: bool = True, awaken: bool = True) -> list[UUID]:
        """As the api does: commit, then the index, then the waiters."""
        await Submissions(self.database).store([make_request(job) for job in jobs])
        if tell:
            await self.tell([job.id for job in jobs])
        if awaken:
            self.pools.awaken({(job.namespace, job.queue) for job in jobs})
        return [job.id for job in jobs]

    async def tell(self, job_ids: list[UUID]) -> None:
        """As the relay does."""
        for standing in await self.jobs.standing(job_ids):
            if standing.phase is JobPhase.QUEUED:
                await self.index.add(QueueKey(standing.namespace, standing.queue), [entry_of(standing)])

    async def expire(self) -> int:
        """As the leader does."""
        attempts = Attempts(self.database)
        expired = await attempts.expired()
        outcome = await attempts.expire([after_silence(each) for each in expired], "leader")
        return len(outcome.moved)

    async def cancel(self, job_id: UUID) -> None:
        change = Change(job_id=job_id, target=JobPhase.CANCELLED, reason="Cancelled")
        await Mover(self.database).move_one(change, Actor(name="ann", action="cancel"))

    async def ask(self, what: str, user: str = "ann", **body: Any) -> Any:
        answer = await self.rest.ask("POST", f"{POOL}/{what}", token=self._token(user), json=body)
        assert answer.status == 200, answer.body
        return answer.json()

    def _token(self, user: str) -> str:
        return self.tokens.setdefault(user, self.rest.token(user))

    async def lease(self, worker: str = "w", most: int = 1, wait: float = 0.0, **more: Any) -> list[dict[str, Any]]:
        answer = await self.ask("lease", worker=worker, most=most, wait_seconds=wait, **more)
        leases: list[dict[str, Any]] = answer["leases"]
        return leases

    async def succeed(self, lease: dict[str, Any], worker: str = "w", result: Any = None) -> str:
        body = {"job_id": lease["job_id"], "attempt": lease["attempt"], "result": result}
        answer = await self.ask("acknowledge", worker=worker, successes=[body])
        return str(answer["attempts"][0]["verdict"])

    async def fail(self, lease: dict[str, Any], worker: str = "w", failure: str = "exitCode", **more: Any) -> str:
        body = {"job_id": lease["job_id"], "attempt": lease["attempt"], "failure": failure, **more}
        answer = await self.ask("acknowledge", worker=worker, failures=[body])
        return str(answer["attempts"][0]["verdict"])

    async def beat(self, lease: dict[str, Any], worker: str = "w", progress: float | None = None) -> bool:
        """Whether the lease is kept."""
        body = {"job_id": lease["job_id"], "attempt": lease["attempt"], "progress": progress}
        answer = await self.ask("heartbeat", worker=worker, attempts=[body])
        return not answer["lost"]

    async def job(self, job_id: UUID | str) -> Job:
        return await self.jobs.get(UUID(str(job_id)))

    async def attempts(self, job_id: UUID | str) -> list[Attempt]:
        return await self.jobs.attempts(UUID(str(job_id)))


@asynccontextmanager
async def pool_world(folder: Path, database_url: str, redis: RedisServer, **settings: Any) -> AsyncIterator[PoolWorld]:
    given = {"database_look": 0.2, "sweep": 0.2} | settings
    calls = Calls.to(IndexSettings(url=SecretStr(redis.url), call_timeout=1.0))
    index = QueueIndex(calls)
    async with open_database(database_url, database_connections=8) as database:
        pools = Pools(database, index, PoolSettings(**given), SystemClock(), CollectorRegistry())
        running = asyncio.create_task(pools.run())
        await asyncio.sleep(0)
        try:
            async with rest_world(folder, pools) as rest:
                for user in ("oidc:ann", "oidc:bob"):
                    rest.reviews.allow(user, "update")
                yield PoolWorld(rest, pools, database, index)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await calls.close()
