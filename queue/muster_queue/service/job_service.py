"""The api's service over the real stores: each question goes to the part that knows the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

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
    QueueAnswer,
    Submission,
    SubmissionListener,
    Submitted,
    WhyAnswer,
)
from muster_queue.service.auditing import Auditor
from muster_queue.service.changing import Changer
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.live_events import LiveEvents
from muster_queue.service.member_logs import MemberLogs
from muster_queue.service.reading import Reader
from muster_queue.service.records import parse_id
from muster_queue.service.rules import CANCEL, DROP, HOLD, RELEASE, REQUEUE, RETRY
from muster_queue.service.surroundings import Surroundings
from muster_queue.service.traced_submitting import TakesSubmissions
from muster_queue.service.why import why
from muster_queue.storage.jobs import Jobs


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of."""

    jobs: Jobs
    submitter: TakesSubmissions
    changer: Changer
    reader: Reader
    auditor: Auditor
    live: LiveEvents
    logs: MemberLogs
    surroundings: Surroundings


class QueueService:
    """Implements muster_queue.rest.service.JobService."""

    def __init__(self, parts: Parts, unready: Callable[[], Sequence[str]]) -> None:
        self._parts = parts
        self.unready = unready

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        return await self._parts.submitter.submit(job, actor, key)

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool:
        return self._parts.submitter.begin(job, actor, listener)

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]:
        return await self._parts.submitter.submit_many(jobs, actor, key)

    async def find(self, job_id: str) -> JobRecord:
        return await self._parts.reader.find(job_id)

    async def attempts(self, job_id: str) -> Sequence[JobAttemptAnswer]:
        return await self._parts.reader.attempts(job_id)

    async def list_jobs(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        return await self._parts.reader.page(chosen, page)

    async def cancel(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(CANCEL, change)

    async def retry(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(RETRY, change)

    async def hold(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(HOLD, change)

    async def release(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(RELEASE, change)

    async def set_priority(self, change: Change, priority: int) -> JobRecord:
        return await self._parts.changer.set_priority(change, priority)

    async def events(self, job_id: str, page: PageRequest) -> Page[EventAnswer]:
        return await self._parts.reader.events(job_id, page)

    def follow_events(self, job_id: str, after: int) -> AsyncGenerator[EventAnswer, None]:
        return self._parts.live.follow(parse_id(job_id), after)

    def logs(self, job_id: str, wanted: LogRequest) -> AsyncGenerator[bytes, None]:
        return self._parts.logs.read(job_id, wanted)

    async def why(self, job_id: str) -> WhyAnswer:
        with in_words_of_the_api():
            return why(await self._parts.jobs.get(parse_id(job_id)))

    async def queues(self, namespace: str, page: PageRequest) -> Page[QueueAnswer]:
        return await self._parts.surroundings.queues(namespace, page)

    async def clusters(self, page: PageRequest) -> Page[ClusterAnswer]:
        return await self._parts.surroundings.clusters(page)

    async def dead_letters(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        return await self._parts.reader.page(replace(chosen, phase=JobPhase.DEAD_LETTER), page)

    async def requeue(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(REQUEUE, change)

    async def drop(self, change: Change) -> JobRecord:
        return await self._parts.changer.apply(DROP, change)

    async def audit(self, chosen: AuditFilter, page: PageRequest) -> Page[AuditAnswer]:
        return await self._parts.auditor.page(chosen, page)

    async def verify_audit(self) -> AuditVerdictAnswer:
        return await self._parts.auditor.verify()
