"""The queue service's database as a test uses it: submits and changes jobs as the api does, and waits for rows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from bones.kube import Item, WaitTimeoutError
from bones.storing import make_job, make_request, open_database
from muster_api.phases import JobPhase
from muster_queue.storage.audit import Sealer, Verifier
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Attempt, Change, Event, Job, JobFilter, Moved
from muster_queue.storage.submissions import Submissions

POLL_SECONDS = 0.05

T = TypeVar("T")


class Backlog:
    """Each call opens the database for itself, so that it may have been away since the last one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def submit(self, *manifests: Item, priority: int = 50, **fields: Any) -> list[UUID]:
        """Stores the jobs that these AIJobs would be, in one commit."""
        jobs = [
            make_job(
                manifest["metadata"]["name"],
                namespace=manifest["metadata"]["namespace"],
                job_type=manifest["spec"]["jobType"],
                cluster=manifest["spec"].get("cluster", ""),
                queue=manifest["spec"].get("queue", "default"),
                spec=msgspec.Raw(json.dumps(manifest["spec"]).encode()),
                priority=priority,
                **fields,
            )
            for manifest in manifests
        ]

        async def store(database: Database) -> None:
            await Submissions(database).store([make_request(job) for job in jobs])

        self._do(store)
        return [job.id for job in jobs]

    def change(self, job_id: UUID, **fields: Any) -> Moved:
        """As the api does it for somebody."""

        async def move(database: Database) -> Moved:
            return await Mover(database).move_one(Change(job_id=job_id, **fields), Actor(name="ada", action="test"))

        return self._do(move)

    def job(self, job_id: UUID) -> Job:
        return self._do(lambda database: Jobs(database).get(job_id))

    def named(self, namespace: str, name: str) -> Job | None:
        return self._do(lambda database: Jobs(database).named(namespace, name))

    def names(self, namespace: str) -> list[str]:
        """Of all its rows, those included whose name is free again."""
        everything = JobFilter(namespaces=(namespace,), with_gone=True)
        return sorted(job.name for job in self._do(lambda database: Jobs(database).page(everything, 1000)))

    def events(self, job_id: UUID) -> list[Event]:
        return self._do(lambda database: Jobs(database).history(job_id))

    def attempts(self, job_id: UUID) -> list[Attempt]:
        """The first one first."""
        return self._do(lambda database: Jobs(database).attempts(job_id))[::-1]

    def find(self, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
        return self._do(lambda database: Jobs(database).find(job_ids))

    def verify(self) -> None:
        """The audit is sealed as it was written."""

        async def verify(database: Database) -> None:
            await Sealer(database).seal_all()
            verification = await Verifier(database).verify()
            assert verification.holds, verification.findings

        self._do(verify)

    def wait(self, job_id: UUID, condition: Callable[[Job], Any], *, timeout: float = 60, what: str = "") -> Job:
        """Until the row satisfies the condition."""
        return self.wait_all([job_id], lambda jobs: condition(jobs[job_id]), timeout=timeout, what=what)[job_id]

    def wait_phase(self, job_id: UUID, *phases: JobPhase, timeout: float = 60) -> Job:
        return self.wait(job_id, lambda job: job.phase in phases, timeout=timeout, what=" or ".join(phases))

    def wait_named(self, namespace: str, name: str, *phases: JobPhase, timeout: float = 60) -> Job:
        """Until there is a row of this name, in one of the phases."""

        async def found(database: Database) -> Job:
            deadline = time.monotonic() + timeout
            while True:
                job = await Jobs(database).named(namespace, name)
                if job is not None and (not phases or job.phase in phases):
                    return job
                if time.monotonic() > deadline:
                    known = await Jobs(database).page(JobFilter(namespaces=(namespace,), with_gone=True), 20)
                    stand = [(job.name, str(job.phase), job.reason, job.attempt, job.gone_at) for job in known]
                    raise WaitTimeoutError(f"waited {timeout:.0f} s for {name} {' or '.join(phases)}: {stand}")
                await asyncio.sleep(POLL_SECONDS)

        return self._do(found)

    def wait_all(
        self, job_ids: Sequence[UUID], condition: Callable[[dict[UUID, Job]], Any], *, timeout: float, what: str
    ) -> dict[UUID, Job]:
        async def look(database: Database) -> dict[UUID, Job]:
            deadline = time.monotonic() + timeout
            while True:
                jobs = await Jobs(database).find(job_ids)
                if len(jobs) == len(job_ids) and condition(jobs):
                    return jobs
                if time.monotonic() > deadline:
                    stand = [(job.name, str(job.phase), job.reason, job.message) for job in list(jobs.values())[:10]]
                    raise WaitTimeoutError(f"waited {timeout:.0f} s for {what}: {stand}")
                await asyncio.sleep(POLL_SECONDS)

        return self._do(look)

    def _do(self, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
        async def opened() -> T:
            async with open_database(self.url, database_connections=1) as database:
                return await work(database)

        return asyncio.run(opened())
