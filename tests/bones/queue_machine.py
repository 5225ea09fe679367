"""Everything that can happen to a pool's job, in any order, on the real stores, against a plain model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from bones.pool_world import pool_job
from bones.redis_servers import RedisServer
from bones.storing import make_request, open_database
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
from muster_queue.rest.pool_service import (
    AcknowledgeRequest,
    BeatRequest,
    FailureRequest,
    LeaseAnswer,
    LeaseRequest,
    PoolName,
    SuccessRequest,
    Verdict,
    WorkerFailure,
    WorkerIdentity,
)
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change
from muster_queue.storage.submissions import Submissions
from muster_queue.storage.transitions import ENDED, TRANSITIONS

T = TypeVar("T")
QUEUE = QueueKey("team-a", "default")
POOL = PoolName(namespace="team-a", queue="default")
MOST_RETRIES = 2
workers = st.sampled_from(["ada", "bob", "eve"])


@dataclass
class ModelJob:
    """What a job has to be like by now."""

    priority: int
    phase: JobPhase = JobPhase.QUEUED
    attempt: int = 0
    retries: int = 0
    holder: str = ""
    moves: int = 1
    """Its version: one for each thing that happened."""
    ends: list[str] = field(default_factory=list)

    def move(self, phase: JobPhase) -> None:
        assert phase in TRANSITIONS[self.phase]
        self.phase = phase
        self.moves += 1
        if phase is not JobPhase.RUNNING:
            self.holder = ""


@dataclass(frozen=True)
class Held:
    """A lease as its worker remembers it, whether it still holds or not."""

    job_id: UUID
    attempt: int
    worker: str


class QueueMachine(RuleBasedStateMachine):
    """Each step is done to the stores and to the model, and the two have to say the same."""

    database_url: ClassVar[str]
    redis: ClassVar[RedisServer]
    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[UUID, ModelJob] = {}
        self.loop = asyncio.new_event_loop()
        self.redis.ask("FLUSHALL")
        self._open()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    def _open(self) -> None:
        self.do(self._begin())

    async def _begin(self) -> None:
        self.database: Database = open_database(self.database_url)
        await self.database.open()
        self.calls = Calls.to(IndexSettings(url=SecretStr(self.redis.url)))
        index = QueueIndex(self.calls)
        settings = PoolSettings(lease_seconds=3600, database_look=0.001, first_look=0.001, sweep=0.05)
        self.pools = Pools(self.database, index, settings, SystemClock(), CollectorRegistry())
        self.index = index
        self.running = asyncio.create_task(self.pools.run())
        await asyncio.sleep(0)

    async def _end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.calls.close()
        await self.database.close()

    def teardown(self) -> None:
        self.do(self._end())
        self.loop.close()

    @initialize()
    def forget_other_runs(self) -> None:
        """Jobs of runs before are cancelled, or they would be leased here."""

        async def forget() -> None:
            rows = await self.database.read(b"select id from muster.jobs where shelf in (0, 1)", {})
            changes = [Change(job_id=job_id, target=JobPhase.CANCELLED) for (job_id,) in rows]
            await Mover(self.database).move(changes, Actor(name="test", action="forget"))

        self.do(forget())

    @rule(target=jobs, priority=st.integers(0, 100), told=st.booleans())
    def submit(self, priority: int, told: bool) -> UUID:
        """With or without the index having heard of it."""
        policy = {"maxRetries": MOST_RETRIES, "backoffSeconds": 0}
        job = pool_job(priority, retryPolicy=policy)

        async def store() -> None:
            await Submissions(self.database).store([make_request(job)])
            if told:
                await self._tell([job.id])

        self.do(store())
        self.model[job.id] = ModelJob(priority)
        return job.id

    @rule(job_id=jobs)
    def relay(self, job_id: UUID) -> None:
        """The index hears of it, perhaps once more, perhaps much too late."""
        self.do(self._tell([job_id]))

    @rule(job_id=jobs, phase=st.sampled_from([JobPhase.CANCELLED, JobPhase.HELD, JobPhase.QUEUED]))
    def change(self, job_id: UUID, phase: JobPhase) -> None:
        """Cancel, hold, release or retry: allowed by the table, and refused otherwise."""
        job = self.model[job_id]
        allowed = phase in TRANSITIONS[job.phase]
        anew = 0 if job.phase in ENDED else None
        change = Change(job_id=job_id, target=phase, retries=anew)
        try:
            self.do(Mover(self.database).move_one(change, Actor(name="ann", action="change")))
        except StorageError:
            assert not allowed, f"{job.phase} to {phase} was refused"
            return
        assert allowed, f"{job.phase} to {phase} was done"
        job.retries = job.retries if anew is None else anew
        job.move(phase)

    @rule(target=leases, worker=workers, most=st.integers(1, 4))
    def lease(self, worker: str, most: int) -> Any:
        """Only what waits is leased, and nothing that waits is passed over for nothing."""
        found = self.do(self._lease(worker, most))
        waiting = {job_id for job_id, job in self.model.items() if job.phase is JobPhase.QUEUED}
        assert {UUID(each.job_id) for each in found} <= waiting
        assert len(found) <= most and (found or not waiting)
        return multiple(*(self._leased(worker, each) for each in found))

    def _leased(self, worker: str, lease: LeaseAnswer) -> Held:
        job = self.model[UUID(lease.job_id)]
        job.move(JobPhase.RUNNING)
        job.attempt += 1
        job.holder = worker
        assert lease.attempt == job.attempt
        return Held(UUID(lease.job_id), lease.attempt, worker)

    def _holds(self, held: Held) -> bool:
        job = self.model[held.job_id]
        return (job.phase, job.attempt, job.holder) == (JobPhase.RUNNING, held.attempt, held.worker)

    @rule(held=leases, worker=workers)
    def heartbeat(self, held: Held, worker: str) -> None:
        beats = (BeatRequest(job_id=str(held.job_id), attempt=held.attempt, progress=0.5),)
        answer = self.do(self.pools.heartbeat(POOL, _who(worker), beats))
        assert bool(answer.lost) != (self._holds(held) and worker == held.worker)

    @rule(held=leases, worker=workers)
    def acknowledge(self, held: Held, worker: str) -> None:
        request = AcknowledgeRequest(
            worker=worker, successes=(SuccessRequest(job_id=str(held.job_id), attempt=held.attempt),)
        )
        self._settle(held, worker, request, "succeeded")

    @rule(held=leases, worker=workers, failure=st.sampled_from(WorkerFailure))
    def fail(self, held: Held, worker: str, failure: WorkerFailure) -> None:
        ended = FailureRequest(job_id=str(held.job_id), attempt=held.attempt, failure=failure)
        self._settle(held, worker, AcknowledgeRequest(worker=worker, failures=(ended,)), failure.value)

    def _settle(self, held: Held, worker: str, request: AcknowledgeRequest, end: str) -> None:
        (answer,) = self.do(self.pools.acknowledge(POOL, _who(worker), request)).attempts
        job = self.model[held.job_id]
        mark = f"{held.attempt} {worker} {end}"
        if self._holds(held) and worker == held.worker:
            assert answer.verdict is Verdict.ACCEPTED
            job.ends.append(mark)
            self._close(job, end)
        else:
            assert answer.verdict is (Verdict.ACCEPTED if mark in job.ends else Verdict.STALE)

    def _close(self, job: ModelJob, end: str) -> None:
        """By the policy in words: some ends are final, some cost nothing for a while, the others cost a retry."""
        if end == "succeeded":
            job.move(JobPhase.SUCCEEDED)
        elif end == "validation":
            job.move(JobPhase.FAILED)
        elif end in ("preempted", "nodeLost") and job.attempt - 1 - job.retries < 3:
            job.move(JobPhase.QUEUED)
        elif job.retries < MOST_RETRIES:
            job.retries += 1
            job.move(JobPhase.QUEUED)
        else:
            job.move(JobPhase.DEAD_LETTER)

    @rule(held=leases)
    def expire(self, held: Held) -> None:
        """The lease of this attempt is over, by the database's clock, and the leader looks."""

        async def expire() -> int:
            late = b"update muster.dispatches set lease_until = now() - interval '1 second' where job_id = %(id)s"
            which = {"id": held.job_id, "attempt": held.attempt}
            await self.database.write(late + b" and attempt = %(attempt)s returning 1", which)
            attempts = Attempts(self.database)
            changes = [after_silence(each) for each in await attempts.expired()]
            return len((await attempts.expire(changes, "leader")).moved)

        holds = self._holds(held)
        assert self.do(expire()) == int(holds)
        if holds:
            self._close(self.model[held.job_id], "nodeLost")

    @rule()
    def flush(self) -> None:
        self.redis.ask("FLUSHALL")

    @rule()
    def crash(self) -> None:
        """Another process goes on from what Postgres has; what was on its way to the index is gone."""
        self.do(self._end())
        self._open()

    @rule(worker=workers, most=st.integers(1, 4))
    def crash_while_leasing(self, worker: str, most: int) -> None:
        """Taken from the index, and never claimed."""
        self.do(self.index.take(QUEUE, most, 0.001))

    @precondition(lambda self: bool(self.model))
    @invariant()
    def agrees(self) -> None:
        found = self.do(Jobs(self.database).find(list(self.model)))
        told = {each.id: (each.phase, each.attempt, each.retries, each.version) for each in found.values()}
        assert told == {job_id: (job.phase, job.attempt, job.retries, job.moves) for job_id, job in self.model.items()}

    @precondition(lambda self: bool(self.model))
    @invariant()
    def no_job_has_two_open_attempts(self) -> None:
        rows = self.do(
            self.database.read(
                b"select job_id, count(*) from muster.dispatches"
                b" where ended_at is null and job_id = any(%(ids)s) group by 1",
                {"ids": list(self.model)},
            )
        )
        running = {job_id: 1 for job_id, job in self.model.items() if job.phase is JobPhase.RUNNING}
        assert dict(rows) == running

    async def _lease(self, worker: str, most: int) -> list[LeaseAnswer]:
        """What the index does not know is found in Postgres: two looks are enough."""
        wanted = LeaseRequest(worker=worker, most=most, wait_seconds=0.02)
        return await self.pools.lease(POOL, _who(worker), wanted) or await self.pools.lease(POOL, _who(worker), wanted)

    async def _tell(self, job_ids: list[UUID]) -> None:
        for standing in await Jobs(self.database).standing(job_ids):
            if standing.phase is JobPhase.QUEUED:
                await self.index.add(QUEUE, [entry_of(standing)])


def _who(worker: str) -> WorkerIdentity:
    return WorkerIdentity(actor="workers", holder=f"team-a/workers/{worker}")
