"""The api's process for benchmarks/pools.py: door, tokens, intake, index and pools, as in production."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import msgspec
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

import bones_path
from bones.memory_jobs import START, MemoryJobs
from bones.review_server import review_server
from bones.token_maker import TokenMaker, issuer_settings
from muster_api.phases import JobPhase
from muster_kube.clock import SystemClock
from muster_kube.process import settle_garbage
from muster_kube.serve import HttpServer
from muster_kube.session import ApiSession
from muster_queue.identity.gatekeeper import open_gatekeeper
from muster_queue.identity.settings import IdentitySettings
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.index.scores import score_of
from muster_queue.index.values import Entry
from muster_queue.intake.intake import Intake
from muster_queue.intake.settings import IntakeSettings
from muster_queue.pools.pools import Pools
from muster_queue.pools.settings import PoolSettings
from muster_queue.rest.application import make_application
from muster_queue.rest.metrics import RestMetrics
from muster_queue.rest.service import IdempotencyKey, JobRecord, Submission, Submitted
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import NewJob, Request, StoredBatch
from muster_queue.storage.settings import StorageSettings
from muster_queue.storage.submissions import Submissions

__all__ = ["bones_path"]


class Feed:
    """Jobs that were stored go into the index, then their pool's workers are woken."""

    def __init__(self, index: QueueIndex, pools: Pools) -> None:
        self._index = index
        self._pools = pools
        self._news: list[tuple[Sequence[NewJob], StoredBatch]] = []
        self._came = asyncio.Event()

    def note(self, jobs: Sequence[NewJob], batch: StoredBatch) -> None:
        self._news.append((jobs, batch))
        self._came.set()

    async def run(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            news, self._news = self._news, []
            entries: dict[QueueKey, list[Entry]] = {}
            for jobs, batch in news:
                for job in jobs:
                    entry = Entry(str(job.id), score_of(job.priority, batch.committed_at))
                    entries.setdefault(QueueKey(job.namespace, job.queue), []).append(entry)
            for queue, found in entries.items():
                await self._index.add(queue, found)
            self._pools.awaken((queue.namespace, queue.name) for queue in entries)


class StoredJobs(MemoryJobs):
    """Submissions alone go to Postgres: nothing else is asked here."""

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        spec = job.spec
        stored = NewJob(
            id=UUID(job.job_id),
            namespace=job.namespace,
            name=job.name,
            is_named=False,
            job_type=spec.job_type,
            queue=spec.queue,
            execution=spec.execution,
            spec=msgspec.Raw(msgspec.json.encode(spec)),
            submitter=actor,
            priority=spec.priority or 50,
        )
        await self._intake.submit(Request(jobs=(stored,)))
        record = JobRecord(
            job_id=job.job_id,
            namespace=job.namespace,
            name=job.name,
            phase=JobPhase.QUEUED,
            version=1,
            created=START,
            spec=spec,
        )
        return Submitted(job=record)


async def serve(folder: Path, database_url: str, redis_url: str) -> None:
    clock, tokens = SystemClock(), TokenMaker()
    keys = folder / "jwks.json"
    keys.write_bytes(tokens.document())
    calls = Calls.to(IndexSettings(url=SecretStr(redis_url)))
    index = QueueIndex(calls)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(StorageSettings.model_validate({"database_url": database_url}))
        )
        reviews = await stack.enter_async_context(review_server())
        reviews.allow("oidc:load", "create", "update")
        session = await stack.enter_async_context(await ApiSession.connect(reviews.write_kubeconfig(folder)))
        identity = IdentitySettings(token_issuers=(issuer_settings(str(keys)),))
        gate = await stack.enter_async_context(open_gatekeeper(identity, session, clock))
        registry = CollectorRegistry()
        pools = Pools(database, index, PoolSettings(), clock, registry)
        feed = Feed(index, pools)
        limits = IntakeSettings(waiting_jobs=100_000)
        intake = Intake(Submissions(database), Jobs(database), limits, on_stored=feed.note)
        application = make_application(StoredJobs(intake), gate, clock, RestMetrics(registry), registry, pools=pools)
        server = HttpServer(application, "127.0.0.1", 0)
        async with asyncio.TaskGroup() as group:
            for work in (pools.run(), feed.run(), intake.run(), server.run()):
                group.create_task(work)
            await server.started.wait()
            settle_garbage()
            token = tokens.token(now=clock.now().timestamp(), sub="load", exp=clock.now().timestamp() + 3600)
            sys.stdout.write(f"{server.port} {token}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
