"""What the repositories take and give: frozen values, named as the columns are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntFlag
from functools import cache
from typing import Any, Final
from uuid import UUID

import msgspec

from muster_api.phases import JobPhase
from muster_queue.storage.chain import Place
from muster_queue.storage.transitions import ENDED, SHELVES, STARTED, sources_of

NOTHING: Final = msgspec.Raw(b"null")


class NewJob(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as it is submitted, checked and defaulted by whoever took it in."""

    id: UUID
    namespace: str
    name: str
    is_named: bool
    """Whether the user has chosen the name."""
    job_type: str
    queue: str
    spec: msgspec.Raw
    """Stored and given back as it is, byte by byte."""
    submitter: str
    priority: int = 50
    cluster: str = ""
    execution: str = "pod"
    phase: JobPhase = JobPhase.QUEUED
    labels: Mapping[str, str] | None = None
    trace: str | None = None
    wake_seconds: float | None = None
    """After how long somebody must look at it: the time that it may wait."""
    object_uid: str | None = None
    """Of the AIJob that it was made from: it never gets another one."""


class RequestKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What makes a request the same as an earlier one."""

    tenant: str
    key: str
    fingerprint: bytes
    """SHA-256 of the canonical request."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One submission: its jobs are stored together or, with a key, not at all."""

    jobs: tuple[NewJob, ...]
    key: RequestKey | None = None


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The request that an idempotency key belongs to."""

    fingerprint: bytes
    job_ids: tuple[UUID, ...]


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a batch of requests in one commit."""

    committed_at: datetime
    outbox_id: int | None
    missing: frozenset[UUID]
    """Jobs that this statement did not store."""
    taken: frozenset[UUID]
    """Those of them whose name another job has."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    id: UUID
    namespace: str
    name: str
    job_type: str
    queue: str
    cluster: str
    execution: str
    priority: int
    phase: JobPhase
    reason: str
    message: str
    version: int
    attempt: int
    retries: int
    spec: msgspec.Raw
    submitter: str
    created_at: datetime
    updated_at: datetime
    labels: dict[str, str]
    trace: str | None = None
    object_uid: str | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wake_at: datetime | None = None
    gone_at: datetime | None = None


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are listed: of all that is given, all must hold."""

    namespaces: tuple[str, ...] | None = None
    """None: all of them, for whoever may see them."""
    phases: frozenset[JobPhase] = frozenset(JobPhase)
    job_type: str | None = None
    queue: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    with_gone: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A transition, or without `target` a change of what stands in a job; None leaves a field as it is."""

    job_id: UUID
    target: JobPhase | None = None
    version: int | None = None
    """The version that the caller has seen: another one is Stale."""
    attempt: int | None = None
    """Fences the change: refused unless this attempt is the job's present one, and open."""
    holder: str | None = None
    is_expiry: bool = False
    """Holds only while the lease of the attempt is over."""
    reason: str | None = None
    message: str | None = None
    retries: int | None = None
    priority: int | None = None
    wake_seconds: float | None = None
    object_uid: str | None = None
    failure: str | None = None
    exit_code: int | None = None
    result: msgspec.Raw = NOTHING
    is_gone: bool = False
    """The job's object was deleted: its name is free again. Only of a job that has ended, or ends with this change."""
    is_mirror: bool = False
    """Says what the job's AIJob says already: nothing that has to be carried to it."""

    def as_row(self) -> ChangeRow:
        """What the statement reads."""
        target = self.target
        return ChangeRow(
            id=self.job_id,
            version=self.version,
            attempt=self.attempt,
            holder=self.holder,
            is_expiry=self.is_expiry,
            sources=_sources(target, is_gone=self.is_gone),
            target=target,
            shelf=None if target is None else SHELVES[target],
            reason=self.reason,
            message=self.message,
            retries=self.retries,
            priority=self.priority,
            wake_seconds=self.wake_seconds,
            object_uid=self.object_uid,
            failure=self.failure,
            exit_code=self.exit_code,
            result=self.result,
            is_end=target in ENDED,
            is_gone=self.is_gone,
            is_mirror=self.is_mirror,
        )


class ChangeRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A change as its statement reads it; what is left out is null, or false, there too."""

    id: UUID
    sources: tuple[JobPhase, ...]
    result: msgspec.Raw
    version: int | None = None
    attempt: int | None = None
    holder: str | None = None
    target: JobPhase | None = None
    shelf: int | None = None
    reason: str | None = None
    message: str | None = None
    retries: int | None = None
    priority: int | None = None
    wake_seconds: float | None = None
    object_uid: str | None = None
    failure: str | None = None
    exit_code: int | None = None
    is_expiry: bool = False
    is_end: bool = False
    is_gone: bool = False
    is_mirror: bool = False


@cache
def _sources(target: JobPhase | None, *, is_gone: bool) -> tuple[JobPhase, ...]:
    """The phases that a change may find its job in, by the table of transitions."""
    if is_gone and target not in ENDED:
        # What is not over may still be handed out: only a job that has ended, or ends with this, can be gone.
        return tuple(ENDED) if target is None else ()
    if target is None:
        return tuple(JobPhase)
    if target in STARTED:
        # An attempt begins with its claim and with nothing else.
        return tuple(STARTED.intersection(sources_of(target)))
    return sources_of(target)


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, and what they call it: written into the audit."""

    name: str
    action: str
    details: Mapping[str, Any] | None = None


class Moved(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change that went through."""

    job_id: UUID
    source: JobPhase
    target: JobPhase
    version: int
    attempt: int
    outbox_id: int | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A job that the index offers."""

    id: UUID
    attempt: int | None = None
    """The number that this attempt would have; None where the index does not know."""
    wake_seconds: float | None = None
    gpus: int = 0
    holder: str | None = None
    """Who is to have it, where a batch is for several."""


class PoolScope(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that the workers of a pool may have."""

    namespace: str
    queue: str
    job_types: tuple[str, ...] | None = None
    """None: all of them."""


class PoolCandidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job of a pool that waits, with what its place in the order is made of."""

    id: UUID
    priority: int
    attempt: int
    queued_at: datetime


class Claimed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt that now belongs to its holder, with what it needs to begin."""

    id: UUID
    namespace: str
    name: str
    queue: str
    job_type: str
    execution: str
    priority: int
    version: int
    attempt: int
    retries: int
    spec: msgspec.Raw
    trace: str | None
    created_at: datetime
    queued_at: datetime | None
    claimed_at: datetime
    holder: str


class Beat(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sign of life of one attempt."""

    id: UUID
    attempt: int
    progress: float | None = None
    holder: str | None = None


class Settled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt has ended."""

    job_id: UUID
    attempt: int
    holder: str
    outcome: JobPhase
    failure: str | None


class ExpiredAttempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt whose holder has fallen silent, with what decides what becomes of its job."""

    job_id: UUID
    attempt: int
    holder: str
    lease_until: datetime
    started_at: datetime
    retries: int
    spec: msgspec.Raw


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a job, as it stands."""

    job_id: UUID
    attempt: int
    holder: str
    gpus: int
    started_at: datetime
    lease_until: datetime | None = None
    progress: float | None = None
    ended_at: datetime | None = None
    outcome: JobPhase | None = None
    failure: str | None = None
    exit_code: int | None = None
    message: str | None = None
    result: msgspec.Raw = NOTHING


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's history; its version numbers it."""

    job_id: UUID
    version: int
    time: datetime
    namespace: str
    source: JobPhase | None
    target: JobPhase
    reason: str
    message: str
    attempt: int
    actor: str


class Wish(IntFlag):
    """What was changed in a job and its AIJob does not say yet."""

    PRIORITY = 1
    PHASE = 2
    RETRY = 4


class Reflection(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as far as its AIJob has to agree with it."""

    id: UUID
    namespace: str
    name: str
    phase: JobPhase
    version: int
    attempt: int = 0
    priority: int = 50
    reason: str = ""
    message: str = ""
    wishes: int = 0
    """Bits of Wish."""
    object_uid: str | None = None
    queued_at: datetime | None = None
    is_gone: bool = False
    holder: str = ""
    """Who has or had its last attempt."""


class QueueHead(msgspec.Struct, frozen=True, kw_only=True):
    """A job that goes next in its queue."""

    id: UUID
    namespace: str
    queue: str
    priority: int
    created_at: datetime


class PodCandidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job that waits and has no AIJob yet."""

    id: UUID
    namespace: str
    queue: str
    priority: int
    created_at: datetime


class Made(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An AIJob that stands for a job."""

    id: UUID
    uid: str
    is_ours: bool = True
    """Made from the job's row, which then may have changed since: whatever it says is to be carried."""


class Told(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a job is where it is, in the words of its AIJob; no news for its history."""

    id: UUID
    version: int
    reason: str
    message: str


class OpenLease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An attempt in a pool worker's hands."""

    id: UUID
    attempt: int
    seconds: float
    """Until its lease is over; less than 0 where it is."""


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the index has to know of a job."""

    id: UUID
    namespace: str
    queue: str
    execution: str
    priority: int
    attempt: int
    queued_at: datetime | None
    created_at: datetime
    phase: JobPhase


class QueueCount(msgspec.Struct, frozen=True, kw_only=True):
    """How full a queue is."""

    namespace: str
    queue: str
    active: int
    """Queued, scheduled or running."""
    started: int
    parked: int
    """Pending, held, or waiting for their next attempt."""
    dead_letters: int
    oldest_active: datetime | None

    @property
    def queued(self) -> int:
        return max(0, self.active - self.started)


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, to which jobs."""

    txid: int
    id: int
    time: datetime
    actor: str
    action: str
    namespace: str
    job_ids: tuple[UUID, ...]
    source: JobPhase | None
    target: JobPhase | None
    details: msgspec.Raw

    @property
    def place(self) -> Place:
        return Place(self.txid, self.id)


def encode_rows(rows: Sequence[Any]) -> str:
    """The one JSON parameter of a statement; raw parts are spliced in untouched."""
    return msgspec.json.encode(rows).decode()
