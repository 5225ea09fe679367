"""Everything that can happen to a pool's job, in any order, on the real stores, against a plain model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from bones.pool_world import pool_job
from bones.queue_model import MOST_RETRIES, Held, ModelJob
from bones.queue_parts import POOL, QUEUE, QueueParts
from bones.redis_servers import RedisServer
from bones.storing import IDS, make_request
from muster_api.phases import JobPhase
from muster_queue.rest.pool_service import (
    AcknowledgeRequest,
    BeatRequest,
    FailureRequest,
    LeaseAnswer,
    SuccessRequest,
    Verdict,
    WorkerFailure,
    WorkerIdentity,
)
from muster_queue.storage.audit import AuditTrail
from muster_queue.storage.errors import KeyReused, StorageError
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change
from muster_queue.storage.transitions import ENDED, TRANSITIONS, WAITING

T = TypeVar("T")
LONG_SECONDS = 600
priorities = st.integers(0, 100)
workers = st.sampled_from(["ada", "bob", "eve"])


class QueueMachine(RuleBasedStateMachine):
    """Each step is done to the stores and to the model, and the two have to say the same."""

    database_url: ClassVar[str]
    redis: ClassVar[RedisServer]
    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[UUID, ModelJob] = {}
        self.keys: dict[str, tuple[str, UUID]] = {}
        """Of each idempotency key the body and the job that it came with first."""
        self.run = IDS.make()
        self.loop = asyncio.new_event_loop()
        self.redis.ask("FLUSHALL")
        self._open()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    def _open(self) -> None:
        self.parts = self.do(QueueParts.open(self.database_url, self.redis))

    def teardown(self) -> None:
        self.do(self.parts.close())
        self.loop.close()

    @initialize()
    def forget_other_runs(self) -> None:
        """Jobs of runs before are cancelled, or they would be leased here."""

        async def forget() -> None:
            rows = await self.parts.database.read(b"select id from muster.jobs where shelf in (0, 1)", {})
            changes = [Change(job_id=job_id, target=JobPhase.CANCELLED) for (job_id,) in rows]
            await Mover(self.parts.database).move(changes, Actor(name="test", action="forget"))

        self.do(forget())

    @rule(target=jobs, priority=priorities, told=st.booleans(), pauses=st.booleans())
    def submit(self, priority: int, told: bool, pauses: bool) -> UUID:
        """With or without the index having heard of it."""
        job = pool_job(priority, retryPolicy=_policy(pauses=pauses))
        receipt = self.do(self.parts.submit(make_request(job), is_told=told))
        assert receipt.job_ids == (job.id,)
        self.model[job.id] = ModelJob(priority, pauses)
        return job.id

    @rule(target=jobs, key=st.sampled_from("ab"), body=st.sampled_from("xy"), told=st.booleans())
    def submit_with_key(self, key: str, body: str, told: bool) -> Any:
        """The first time a job is made; then the same body gets the same answer, and another one is refused."""
        job = pool_job(50, retryPolicy=_policy(pauses=False))
        request = make_request(job, key=f"{self.run} {key}", body=body)
        first_body, first_id = self.keys.setdefault(key, (body, job.id))
        if body != first_body:
            try:
                self.do(self.parts.submit(request, is_told=told))
            except KeyReused:
                return multiple()
            raise AssertionError("a key was taken for another body")
        receipt = self.do(self.parts.submit(request, is_told=told))
        assert (receipt.job_ids, receipt.is_replay) == ((first_id,), first_id != job.id)
        if receipt.is_replay:
            assert not self.do(self.parts.jobs.find([job.id]))
            return multiple()
        self.model[job.id] = ModelJob(50)
        return job.id

    @rule(job_id=jobs, phase=st.sampled_from([JobPhase.CANCELLED, JobPhase.HELD, JobPhase.QUEUED]))
    def change(self, job_id: UUID, phase: JobPhase) -> None:
        """Cancel, hold, release or retry: allowed by the table, and refused otherwise."""
        job = self.model[job_id]
        allowed = phase in TRANSITIONS[job.phase]
        anew = 0 if job.phase in ENDED else None
        change = Change(job_id=job_id, target=phase, retries=anew)
        try:
            self.do(Mover(self.parts.database).move_one(change, Actor(name="ann", action="change")))
        except StorageError:
            assert not allowed, f"{job.phase} to {phase} was refused"
            return
        assert allowed, f"{job.phase} to {phase} was done"
        job.retries = job.retries if anew is None else anew
        job.move(phase)

    @rule(held=leases, phase=st.sampled_from([JobPhase.CANCELLED, JobPhase.HELD]))
    def change_under_way(self, held: Held, phase: JobPhase) -> None:
        """Of a job that somebody works on, or has."""
        self.change(held.job_id, phase)

    @rule(target=leases, job_id=jobs, phase=st.sampled_from([JobPhase.CANCELLED, JobPhase.HELD]), worker=workers)
    def change_what_is_offered(self, job_id: UUID, phase: JobPhase, worker: str) -> Any:
        """The index has not heard of it yet when somebody asks for work."""
        self.do(self.parts.relay())
        self.change(job_id, phase)
        return self.lease(worker, 4)

    @rule(job_id=jobs, priority=priorities)
    def prioritize(self, job_id: UUID, priority: int) -> None:
        job = self.model[job_id]
        if job.phase in WAITING:
            change = Change(job_id=job_id, priority=priority)
            self.do(Mover(self.parts.database).move_one(change, Actor(name="ann", action="priority")))
            job.priority, job.moves = priority, job.moves + 1

    @rule(target=leases, worker=workers, most=st.integers(1, 4))
    def lease(self, worker: str, most: int) -> Any:
        """Only what waits is leased, and nothing that waits is passed over for nothing."""
        found = self.do(self.parts.lease(_who(worker), worker, most))
        waiting = self._waiting()
        assert {UUID(each.job_id) for each in found} <= waiting
        assert len(found) <= most and (found or not waiting)
        return multiple(*(self._leased(worker, each) for each in found))

    @rule(target=leases, worker=workers, most=st.integers(1, 4))
    def lease_the_best(self, worker: str, most: int) -> Any:
        """Once the index has heard of everything, nothing goes before what is better."""
        self.catch_up()
        offered = self._waiting() & self._offered()
        found = self.do(self.parts.lease(_who(worker), worker, most))
        passed_over = offered - {UUID(each.job_id) for each in found}
        best = max((self.model[job_id].priority for job_id in passed_over), default=0)
        assert all(self.model[UUID(each.job_id)].priority >= best for each in found)
        assert found or not offered
        return multiple(*(self._leased(worker, each) for each in found))

    def _leased(self, worker: str, lease: LeaseAnswer) -> Held:
        job = self.model[UUID(lease.job_id)]
        job.move(JobPhase.RUNNING)
        job.attempt += 1
        job.holder = worker
        assert (lease.attempt, lease.priority) == (job.attempt, job.priority)
        return Held(UUID(lease.job_id), lease.attempt, worker)

    def _holds(self, held: Held) -> bool:
        job = self.model[held.job_id]
        return (job.phase, job.attempt, job.holder) == (JobPhase.RUNNING, held.attempt, held.worker)

    @rule(held=leases, worker=workers)
    def heartbeat(self, held: Held, worker: str) -> None:
        beats = (BeatRequest(job_id=str(held.job_id), attempt=held.attempt, progress=0.5),)
        answer = self.do(self.parts.pools.heartbeat(POOL, _who(worker), beats))
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
        (answer,) = self.do(self.parts.pools.acknowledge(POOL, _who(worker), request)).attempts
        job = self.model[held.job_id]
        mark = f"{held.attempt} {worker} {end}"
        if self._holds(held) and worker == held.worker:
            assert answer.verdict is Verdict.ACCEPTED
            job.ends.append(mark)
            job.close(end)
        else:
            assert answer.verdict is (Verdict.ACCEPTED if mark in job.ends else Verdict.STALE)

    @rule(held=leases)
    def expire(self, held: Held) -> None:
        """The lease of this attempt is over, by the database's clock, and the leader looks."""
        self.do(self.parts.end_lease(held.job_id, held.attempt))
        self.do(self.parts.look_at_the_clock())
        if self._holds(held):
            self.model[held.job_id].close("nodeLost")

    @rule(held=leases)
    def beat_just_in_time(self, held: Held) -> None:
        """The lease was over and the leader has seen it, but its worker comes before the leader acts: it goes on."""
        self.do(self.parts.end_lease(held.job_id, held.attempt))
        seen = self.do(self.parts.lapsed())
        self.heartbeat(held, held.worker)
        assert not self.do(self.parts.take_back(seen))

    @rule(job_id=jobs)
    def wake(self, job_id: UUID) -> None:
        """The pause of a job is over, if it has one."""
        self.do(self.parts.end_pause(job_id))
        self.do(self.parts.look_at_the_clock())
        if self.model[job_id].phase is JobPhase.RETRYING:
            self.model[job_id].move(JobPhase.QUEUED)

    @rule()
    def flush(self) -> None:
        self.redis.ask("FLUSHALL")

    @rule()
    def flush_what_was_told(self) -> None:
        """Nothing in the outbox says any more what the index has to have."""
        self.do(self.parts.relay())
        self.flush()
        self.catch_up()

    @rule()
    def crash(self) -> None:
        """Another process goes on from what Postgres has; what was on its way to the index is gone."""
        self.do(self.parts.close())
        self._open()

    @rule(most=st.integers(1, 4))
    def crash_while_leasing(self, most: int) -> None:
        """Taken from the index, and never claimed."""
        self.do(self.parts.index.take(QUEUE, most, 0.001))

    @rule()
    def catch_up(self) -> None:
        """Once the outbox is empty and what was lost is repaired, the index has every job that waits."""
        self.do(self.parts.relay())
        self.do(self.parts.repair())
        known = self._offered() | {UUID(job) for job in self.redis.ask("ZRANGE", QUEUE.leases, 0, -1)}
        assert self._waiting() <= known

    @rule(job_id=jobs)
    def look_back(self, job_id: UUID) -> None:
        """One event and one audit row for each thing that happened, and one row for each attempt."""
        job, stored = self.model[job_id], self.parts.jobs
        events = self.do(stored.history(job_id))
        assert [event.version for event in events] == list(range(1, job.moves + 1))
        assert events[-1].target is job.phase
        assert len(self.do(AuditTrail(self.parts.database).of_job(job_id))) == job.moves
        attempts = self.do(stored.attempts(job_id))
        assert [each.attempt for each in attempts] == list(range(job.attempt, 0, -1))
        accepted = [each.outcome for each in attempts].count(JobPhase.SUCCEEDED)
        assert accepted == int(job.phase is JobPhase.SUCCEEDED)

    @precondition(lambda self: bool(self.model))
    @invariant()
    def agrees(self) -> None:
        found = self.do(self.parts.jobs.find(list(self.model)))
        told = {
            each.id: (each.phase, each.attempt, each.retries, each.priority, each.version) for each in found.values()
        }
        assert told == {
            job_id: (job.phase, job.attempt, job.retries, job.priority, job.moves) for job_id, job in self.model.items()
        }

    @precondition(lambda self: bool(self.model))
    @invariant()
    def no_job_has_two_open_attempts(self) -> None:
        running = {job_id: 1 for job_id, job in self.model.items() if job.phase is JobPhase.RUNNING}
        assert self.do(self.parts.open_attempts(list(self.model))) == running

    def _waiting(self) -> set[UUID]:
        return {job_id for job_id, job in self.model.items() if job.phase is JobPhase.QUEUED}

    def _offered(self) -> set[UUID]:
        """What the index would hand out."""
        return {UUID(job) for job in self.redis.ask("ZRANGE", QUEUE.waiting, 0, -1)}


def _who(worker: str) -> WorkerIdentity:
    return WorkerIdentity(actor="workers", holder=f"team-a/workers/{worker}")


def _policy(*, pauses: bool) -> dict[str, int]:
    return {"maxRetries": MOST_RETRIES, "backoffSeconds": LONG_SECONDS if pauses else 0}
