"""A JobService in memory: a fake for the HTTP layer only, with just enough behaviour to tell its answers apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from muster_api.phases import JobPhase
from muster_queue.rest.service import (
    AuditAnswer,
    AuditFilter,
    AuditVerdictAnswer,
    Change,
    ClusterAnswer,
    EventAnswer,
    IdempotencyKey,
    JobAttemptAnswer,
    JobFilter,
    JobRecord,
    LogRequest,
    Outcome,
    Page,
    PageRequest,
    Position,
    QueueAnswer,
    Submission,
    SubmissionListener,
    Submitted,
    WhyAnswer,
)
from muster_queue.rest.service_errors import KeyReused, NameTaken, NotFound, ServiceError, Stale, WrongPhase

START = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = (JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.CANCELLED, JobPhase.DEAD_LETTER)


class MemoryJobs:
    """Implements muster_queue.rest.service.JobService."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.history: dict[str, list[EventAnswer]] = {}
        self.keys: dict[tuple[str, str], tuple[bytes, list[str]]] = {}
        self.log: list[AuditAnswer] = []
        self.written: dict[str, list[bytes]] = {}
        self.failures: list[ServiceError] = []
        """What the next changes fail with."""
        self.missing: list[str] = []
        self.batches: list[int] = []
        self.traces: list[str | None] = []
        """Of the jobs that were submitted, in order."""
        self.begun = 0
        """Submissions that came the short way."""
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def unready(self) -> Sequence[str]:
        return self.missing

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        (outcome,) = await self.submit_many([job], actor, key)
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool:
        async def submit() -> None:
            try:
                (outcome,) = await self.submit_many([job], actor, None)
            except ServiceError as error:
                outcome = error
            listener(outcome)

        self.begun += 1
        task = asyncio.create_task(submit())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]:
        self._fail()
        self.batches.append(len(jobs))
        self.traces += [job.trace for job in jobs]
        if key is not None:
            known = self.keys.get((actor, key.key))
            if known is not None:
                if known[0] != key.fingerprint:
                    raise KeyReused
                return [Submitted(job=self.jobs[job_id], replayed=True) for job_id in known[1]]
        outcomes = [await self._take(job, actor) for job in jobs]
        if key is not None:
            taken = [outcome.job.job_id for outcome in outcomes if isinstance(outcome, Submitted)]
            self.keys[actor, key.key] = (key.fingerprint, taken)
        return outcomes

    async def find(self, job_id: str) -> JobRecord:
        if job_id not in self.jobs:
            raise NotFound
        return self.jobs[job_id]

    async def attempts(self, job_id: str) -> Sequence[JobAttemptAnswer]:
        return [JobAttemptAnswer(attempt=1, holder="user/ann/w", started_at=START, result=msgspec.Raw(b"null"))]

    async def list_jobs(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        found = [job for job in self.jobs.values() if _fits(job, chosen)]
        return _page(sorted(found, key=lambda job: job.job_id), page, lambda job: Position(0, job.job_id))

    async def cancel(self, change: Change) -> JobRecord:
        return await self._move(change, JobPhase.CANCELLED, forbidden=ENDED)

    async def retry(self, change: Change) -> JobRecord:
        return await self._move(change, JobPhase.QUEUED, allowed=ENDED)

    async def hold(self, change: Change) -> JobRecord:
        return await self._move(change, JobPhase.HELD, forbidden=ENDED)

    async def release(self, change: Change) -> JobRecord:
        return await self._move(change, JobPhase.QUEUED, allowed=(JobPhase.HELD,))

    async def set_priority(self, change: Change, priority: int) -> JobRecord:
        return await self._move(change, None, forbidden=ENDED, priority=priority)

    async def events(self, job_id: str, page: PageRequest) -> Page[EventAnswer]:
        return _page(self.history[job_id], page, lambda event: Position(event.number))

    async def follow_events(self, job_id: str, after: int) -> AsyncGenerator[EventAnswer, None]:
        while True:
            for event in self.history[job_id][after:]:
                after = event.number
                yield event
            if self.jobs[job_id].phase in ENDED:
                return
            async with self._news:
                while len(self.history[job_id]) <= after:
                    await self._news.wait()

    async def logs(self, job_id: str, wanted: LogRequest) -> AsyncGenerator[bytes, None]:
        self._fail()
        for piece in self.written.get(job_id, []):
            yield piece

    async def why(self, job_id: str) -> WhyAnswer:
        job = self.jobs[job_id]
        return WhyAnswer(job_id=job_id, phase=job.phase, reason="Waiting", message="needs 4 GPUs, 2 are free")

    async def queues(self, namespace: str, page: PageRequest) -> Page[QueueAnswer]:
        return _page([QueueAnswer(namespace="a", name="default")], page, lambda queue: Position(0, queue.name))

    async def clusters(self, page: PageRequest) -> Page[ClusterAnswer]:
        return _page([ClusterAnswer(name="gpus")], page, lambda cluster: Position(0, cluster.name))

    async def dead_letters(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        return await self.list_jobs(msgspec.structs.replace(chosen, phase=JobPhase.DEAD_LETTER), page)

    async def requeue(self, change: Change) -> JobRecord:
        return await self._move(change, JobPhase.QUEUED, allowed=(JobPhase.DEAD_LETTER,))

    async def drop(self, change: Change) -> JobRecord:
        return await self._move(change, None, allowed=(JobPhase.DEAD_LETTER,))

    async def audit(self, chosen: AuditFilter, page: PageRequest) -> Page[AuditAnswer]:
        found = [row for row in self.log if chosen.namespace in ("", row.namespace)]
        return _page(found, page, lambda row: Position(row.number))

    async def verify_audit(self) -> AuditVerdictAnswer:
        return AuditVerdictAnswer(intact=True, checked_rows=len(self.log), checked_seals=1, unsealed_rows=0)

    async def force(self, job_id: str, phase: JobPhase) -> None:
        """As if the controller had moved it."""
        await self._change(self.jobs[job_id], "controller", phase=phase)

    async def _take(self, job: Submission, actor: str) -> Outcome:
        if any((each.namespace, each.name) == (job.namespace, job.name) for each in self.jobs.values()):
            return NameTaken()
        record = JobRecord(
            job_id=job.job_id,
            namespace=job.namespace,
            name=job.name,
            phase=JobPhase.PENDING,
            version=0,
            created=START + timedelta(seconds=len(self.jobs)),
            spec=job.spec,
            labels=job.labels,
            submitted_by=actor,
            priority=50 if job.spec.priority is None else job.spec.priority,
        )
        self.history[job.job_id] = []
        return Submitted(job=await self._change(record, actor, phase=JobPhase.PENDING))

    async def _move(
        self,
        change: Change,
        phase: JobPhase | None,
        *,
        allowed: Sequence[JobPhase] = tuple(JobPhase),
        forbidden: Sequence[JobPhase] = (),
        **fields: Any,
    ) -> JobRecord:
        self._fail()
        job = self.jobs[change.job_id]
        if change.version not in (None, job.version):
            raise Stale
        if job.phase not in allowed or job.phase in forbidden:
            raise WrongPhase(f"the job is {job.phase}")
        return await self._change(job, change.actor, phase=phase or job.phase, **fields)

    async def _change(self, job: JobRecord, actor: str, **fields: Any) -> JobRecord:
        changed = msgspec.structs.replace(job, version=job.version + 1, **fields)
        self.jobs[job.job_id] = changed
        events = self.history[job.job_id]
        events.append(EventAnswer(number=len(events) + 1, time=START, type="Moved", phase=changed.phase))
        self.log.append(
            AuditAnswer(number=len(self.log) + 1, time=START, actor=actor, action="move", namespace=job.namespace)
        )
        async with self._news:
            self._news.notify_all()
        return changed

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def _fits(job: JobRecord, chosen: JobFilter) -> bool:
    return (
        chosen.namespace in ("", job.namespace)
        and chosen.phase in (None, job.phase)
        and chosen.job_type in (None, job.spec.job_type)
        and chosen.queue in ("", job.spec.queue)
        and chosen.labels.items() <= job.labels.items()
        and (chosen.created_after is None or job.created > chosen.created_after)
        and (chosen.created_before is None or job.created < chosen.created_before)
    )


def _page(rows: Sequence[Any], page: PageRequest, position: Callable[[Any], Position]) -> Page[Any]:
    after = page.after
    rest = [row for row in rows if after is None or _order(position(row)) > _order(after)]
    items = rest[: page.limit]
    return Page(items=items, next=position(items[-1]) if len(rest) > page.limit else None)


def _order(position: Position) -> tuple[int, str]:
    return position.number, position.text
