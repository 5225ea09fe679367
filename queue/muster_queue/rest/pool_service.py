"""What warm workers send and get, and what the api needs from behind it to answer them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from muster_api.jobs import FailureClass, JobType
from muster_queue.rest.job_types import END, EnvironmentAnswer, RequestStruct
from muster_queue.rest.queries import JobId
from muster_queue.rest.service import Frozen
from muster_queue.rest.service_errors import StorageAway

MOST_LEASES: Final = 100
MOST_ATTEMPTS: Final = 500
LONGEST_WAIT: Final = 30.0
LARGEST_RESULT: Final = 64 << 10
LONGEST_MESSAGE: Final = 1024
"""Longer ones are refused: a worker knows best which end of its message to keep."""

WorkerName = Annotated[
    str,
    Meta(
        pattern=f"^[A-Za-z0-9]([-A-Za-z0-9_.]{{0,126}}[A-Za-z0-9])?{END}",
        description="the name of one process among the workers: at most 128 letters, digits, '-', '_' and '.'",
    ),
]
AttemptNumber = Annotated[int, Meta(ge=1, le=1_000_000)]
Progress = Annotated[float, Meta(ge=0, le=1, description="the share of the work that is done")]
PlainText = Annotated[
    str, Meta(max_length=LONGEST_MESSAGE, pattern=f"^[^\\x00]*{END}", description="a text without NUL characters")
]
Configuration = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
Result = Annotated[
    msgspec.Raw,
    Meta(description=f"any JSON of at most {LARGEST_RESULT} bytes and 32 levels", extra_json_schema={}),
]


class WorkerFailure(StrEnum):
    """Why a worker did not finish a job; preempted is one that it gives back unfinished, which costs no retry."""

    EXIT_CODE = FailureClass.EXIT_CODE.value
    OUT_OF_MEMORY = FailureClass.OUT_OF_MEMORY.value
    VALIDATION = FailureClass.VALIDATION.value
    TIMEOUT = FailureClass.TIMEOUT.value
    PREEMPTED = FailureClass.PREEMPTED.value


class Verdict(StrEnum):
    """What became of an acknowledgement."""

    ACCEPTED = "accepted"
    """It is durable; also where the same one was accepted before."""
    STALE = "stale"
    """The attempt is no longer this worker's: the job was cancelled or held, or its lease was over."""
    REFUSED = "refused"
    """The result cannot be kept; acknowledge the attempt without it, or as failed."""


class LeaseRequest(RequestStruct, frozen=True, kw_only=True):
    """How many jobs a worker could begin now, and how long it would wait for the first."""

    worker: WorkerName
    most: Annotated[int, Meta(ge=1, le=MOST_LEASES)] = 1
    wait_seconds: Annotated[float, Meta(ge=0, le=LONGEST_WAIT)] = 0.0
    job_types: Annotated[tuple[JobType, ...], Meta(min_length=1, max_length=len(JobType))] | None = None


class LeaseAnswer(Frozen, frozen=True, kw_only=True):
    """A job that is the worker's for as long as it sends heartbeats."""

    job_id: str
    attempt: int
    name: str
    job_type: str
    priority: int
    config: Configuration
    env: tuple[EnvironmentAnswer, ...]
    timeout_seconds: int | None
    trace: str | None
    lease_seconds: float


class LeasesAnswer(Frozen, frozen=True, kw_only=True):
    leases: list[LeaseAnswer]


class BeatRequest(RequestStruct, frozen=True, kw_only=True):
    job_id: JobId
    attempt: AttemptNumber
    progress: Progress | None = None


class HeartbeatRequest(RequestStruct, frozen=True, kw_only=True):
    """All that a worker works on; whatever is left out for too long is somebody else's."""

    worker: WorkerName
    attempts: Annotated[tuple[BeatRequest, ...], Meta(max_length=MOST_ATTEMPTS)]


class AttemptAnswer(Frozen, frozen=True, kw_only=True):
    job_id: str
    attempt: int


class HeartbeatAnswer(Frozen, frozen=True, kw_only=True):
    lease_seconds: float
    """From now on, for all that is not lost."""
    lost: list[AttemptAnswer]
    """To be given up at once: cancelled, held, or somebody else's by now."""


class SuccessRequest(RequestStruct, frozen=True, kw_only=True):
    job_id: JobId
    attempt: AttemptNumber
    result: Result = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


class FailureRequest(RequestStruct, frozen=True, kw_only=True):
    job_id: JobId
    attempt: AttemptNumber
    failure: WorkerFailure
    exit_code: Annotated[int, Meta(ge=-255, le=255)] | None = None
    message: PlainText = ""


class AcknowledgeRequest(RequestStruct, frozen=True, kw_only=True):
    """Attempts that are over."""

    worker: WorkerName
    successes: Annotated[tuple[SuccessRequest, ...], Meta(max_length=MOST_ATTEMPTS)] = ()
    failures: Annotated[tuple[FailureRequest, ...], Meta(max_length=MOST_ATTEMPTS)] = ()


class AcknowledgedAnswer(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    job_id: str
    attempt: int
    verdict: Verdict
    detail: str = ""


class AcknowledgeAnswer(Frozen, frozen=True, kw_only=True):
    """One for each, the successes first, in the order in which they were sent."""

    attempts: list[AcknowledgedAnswer]


class PoolName(Frozen, frozen=True):
    namespace: str
    queue: str


class WorkerIdentity(Frozen, frozen=True):
    """Who asks: the caller for the audit, and the holder that leases belong to."""

    actor: str
    holder: str


class PoolService(Protocol):
    """All that workers ask for; raises ServiceError. Cancelling `lease` loses nothing."""

    def send_away(self) -> None:
        """Answers all who wait, and lets nobody wait any more: the process is about to stop."""

    async def lease(self, pool: PoolName, worker: WorkerIdentity, wanted: LeaseRequest) -> list[LeaseAnswer]: ...

    async def heartbeat(
        self, pool: PoolName, worker: WorkerIdentity, beats: tuple[BeatRequest, ...]
    ) -> HeartbeatAnswer: ...

    async def acknowledge(
        self, pool: PoolName, worker: WorkerIdentity, request: AcknowledgeRequest
    ) -> AcknowledgeAnswer: ...


class NoPools:
    """Of a process that serves no workers."""

    def send_away(self) -> None:
        """Nobody waits here."""

    async def lease(self, *_: Any) -> list[LeaseAnswer]:
        raise StorageAway("pools are not served here")

    async def heartbeat(self, *_: Any) -> HeartbeatAnswer:
        raise StorageAway("pools are not served here")

    async def acknowledge(self, *_: Any) -> AcknowledgeAnswer:
        raise StorageAway("pools are not served here")
