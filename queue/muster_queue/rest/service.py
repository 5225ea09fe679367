"""What the api needs from behind it: one Protocol, its values as structs, its failures in service_errors.

Structs whose names end in Answer go out as they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from muster_api.jobs import AIJobSpec, JobType
from muster_api.phases import JobPhase
from muster_queue.rest.service_errors import ServiceError

T = TypeVar("T")


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values that pass between the api and its service."""


class Submission(Frozen, frozen=True, kw_only=True):
    """A job that has been read, found right and allowed."""

    job_id: str
    """UUIDv7, made by the api: whoever does not know the outcome can ask for it."""
    namespace: str
    name: str
    is_named: bool
    """Whether its author has chosen the name."""
    spec: AIJobSpec
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    trace: str | None = None
    """The trace context that it came with, or was given."""


class IdempotencyKey(Frozen, frozen=True, kw_only=True):
    """Names a request, so that sending it again does it once. The service keeps the keys of tenants apart."""

    key: str
    fingerprint: bytes
    """sha256 of the request as it was understood: another one under the same key is a mistake."""


class JobRecord(Frozen, frozen=True, kw_only=True):
    """A job as the service knows it."""

    job_id: str
    namespace: str
    name: str
    phase: JobPhase
    version: int
    created: datetime
    spec: AIJobSpec
    reason: str = ""
    message: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    priority: int = 50
    """What it is queued with: its own, else its queue's, else 50."""
    submitted_by: str = ""
    attempt: int = 0
    retries: int = 0
    queued: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    next_attempt: datetime | None = None


class JobAttemptAnswer(Frozen, frozen=True, kw_only=True):
    """One attempt of a job: who had it, and how it ended."""

    attempt: int
    holder: str
    """`kubernetes/...` where it was pods, else the account and the name of a warm worker."""
    started_at: datetime
    ended_at: datetime | None = None
    outcome: JobPhase | None = None
    """What its end made of the job."""
    failure: str | None = None
    exit_code: int | None = None
    message: str = ""
    progress: float | None = None
    result: Annotated[msgspec.Raw, Meta(description="what a warm worker sent", extra_json_schema={})]


class Submitted(Frozen, frozen=True, kw_only=True):
    """A job that is durable now."""

    job: JobRecord
    replayed: bool = False
    """Whether it was there already, under the same idempotency key."""


Outcome = Submitted | ServiceError
"""Of one job among many: those that cannot be taken do not stop the others."""


SubmissionListener = Callable[[Outcome], None]
"""Called once, in the event loop."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended, by the sort keys of its last row."""

    number: int
    text: str = ""


class PageRequest(Frozen, frozen=True, kw_only=True):
    limit: int
    after: Position | None = None


class Page(Frozen, Generic[T], frozen=True, kw_only=True):
    items: Sequence[T]
    next: Position | None = None


class JobFilter(Frozen, frozen=True, kw_only=True):
    """Empty selects all; the namespace was allowed by the door."""

    namespace: str = ""
    phase: JobPhase | None = None
    job_type: JobType | None = None
    queue: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None


class EventAnswer(Frozen, frozen=True, kw_only=True):
    """Something that happened to a job."""

    number: int
    """Rises along the job's events; a client that lost the stream goes on after the last it has seen."""
    time: datetime
    type: str
    phase: JobPhase | None = None
    reason: str = ""
    message: str = ""
    attempt: int = 0


class WhyAnswer(Frozen, frozen=True, kw_only=True):
    """Why a job is where it is."""

    job_id: str
    phase: JobPhase
    reason: str
    message: str
    since: datetime | None = None
    stale: bool = False
    """Whether it is what was stored, since the controller cannot be asked."""


class QueueAnswer(Frozen, frozen=True, kw_only=True):
    namespace: str
    name: str
    pending: int = 0
    running: int = 0
    max_concurrency: int | None = None
    priority: int | None = None
    oldest_pending: datetime | None = None


class ClusterAnswer(Frozen, frozen=True, kw_only=True):
    name: str
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    max_jobs: int | None = None
    max_gpus: int | None = None
    nodes: int = 0
    jobs: int = 0
    gpus: int = 0


class AuditAnswer(Frozen, frozen=True, kw_only=True):
    """Who did what."""

    number: int
    time: datetime
    actor: str
    action: str
    namespace: str = ""
    job_ids: tuple[str, ...] = ()
    """All the jobs that one transaction moved alike: those of a bulk share a row."""
    from_phase: JobPhase | None = None
    to_phase: JobPhase | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class AuditVerdictAnswer(Frozen, frozen=True, kw_only=True):
    """Whether the audit log is what was written."""

    intact: bool
    checked_rows: int
    checked_seals: int
    unsealed_rows: int
    message: str = ""


class AuditFilter(Frozen, frozen=True, kw_only=True):
    namespace: str = ""
    job_id: str = ""
    actor: str = ""
    after: datetime | None = None
    before: datetime | None = None


class LogRequest(Frozen, frozen=True, kw_only=True):
    follow: bool = False
    tail: int | None = None
    member: int = 0
    attempt: int | None = None


class Change(Frozen, frozen=True, kw_only=True):
    """Who changes a job, and which version of it they have seen (None: whichever is there)."""

    job_id: str
    actor: str
    version: int | None = None


class JobService(Protocol):
    """All that the api can be asked for. Every call has a timeout of its own and raises ServiceError."""

    def unready(self) -> Sequence[str]:
        """What is missing for the service to do its work."""

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        """Durable once it returns; a replay gives the job as it was answered first."""

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool:
        """The same without a key, for a listener; False, and nothing done, where it would have to wait to be taken."""

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]:
        """One outcome for each, in their order; raises only where none was taken."""

    async def find(self, job_id: str) -> JobRecord:
        """Sees every change that was acknowledged before."""

    async def attempts(self, job_id: str) -> Sequence[JobAttemptAnswer]:
        """The last ones, the latest first."""

    async def list_jobs(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        """The newest first, by (creation, id)."""

    async def cancel(self, change: Change) -> JobRecord: ...

    async def retry(self, change: Change) -> JobRecord: ...

    async def hold(self, change: Change) -> JobRecord: ...

    async def release(self, change: Change) -> JobRecord: ...

    async def set_priority(self, change: Change, priority: int) -> JobRecord: ...

    async def events(self, job_id: str, page: PageRequest) -> Page[EventAnswer]:
        """The oldest first."""

    def follow_events(self, job_id: str, after: int) -> AsyncGenerator[EventAnswer, None]:
        """The events after this number, and those that come; ends when no more can come."""

    def logs(self, job_id: str, wanted: LogRequest) -> AsyncGenerator[bytes, None]:
        """What a member of the job wrote, in pieces as they come."""

    async def why(self, job_id: str) -> WhyAnswer: ...

    async def queues(self, namespace: str, page: PageRequest) -> Page[QueueAnswer]: ...

    async def clusters(self, page: PageRequest) -> Page[ClusterAnswer]: ...

    async def dead_letters(self, chosen: JobFilter, page: PageRequest) -> Page[JobRecord]:
        """The jobs whose retries are exhausted and that nobody has dropped."""

    async def requeue(self, change: Change) -> JobRecord:
        """Begins a dead letter anew."""

    async def drop(self, change: Change) -> JobRecord:
        """Takes a dead letter off the list; the job stays in the history."""

    async def audit(self, chosen: AuditFilter, page: PageRequest) -> Page[AuditAnswer]:
        """The oldest first."""

    async def verify_audit(self) -> AuditVerdictAnswer: ...
