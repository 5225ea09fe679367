"""What the members of a job write, from the API server, which has it from their nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec
import structlog

from muster_kube.errors import ApiError, Invalid, NotFound, TooManyRequests
from muster_kube.resources import PODS
from muster_kube.session import ApiSession
from muster_queue.rest import service_errors as rest
from muster_queue.rest.service import LogRequest
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.live_events import LiveEvents
from muster_queue.service.records import parse_id
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import Attempt, Job
from muster_queue.storage.transitions import ENDED

log = structlog.get_logger(__name__)

HOLDER_PREFIX: Final = "kubernetes/"
"""Of attempts that are pods: `kubernetes/<uid of the AIJob>/<number of the attempt in its status>`."""
MOST_ATTEMPTS: Final = 1_000
LARGEST_LOG: Final = 256 << 20
WHOLE_SECONDS: Final = 30.0
FOLLOW_SECONDS: Final = 3600.0
"""A member may be silent for long; TCP itself notices a dead peer before."""
PAUSE_SECONDS: Final = 1.0
"""Between two looks at a container that is about to start."""


class Member(msgspec.Struct, frozen=True):
    """Whose log it is."""

    namespace: str
    pod: str


class MemberLogs:
    """Reads with the api's own account: the door has asked whether the caller may."""

    def __init__(self, session: ApiSession, jobs: Jobs, live: LiveEvents) -> None:
        self._session = session
        self._jobs = jobs
        self._live = live

    async def read(self, job_id: str, wanted: LogRequest) -> AsyncGenerator[bytes, None]:
        """The log in pieces as they come; of a job that has not begun, followers wait for the beginning."""
        member = await self._member(job_id, wanted)
        while True:
            try:
                async with self._session.stream(
                    PODS.object_path(member.namespace, member.pod, "log"),
                    _parameters(wanted),
                    idle_timeout=FOLLOW_SECONDS if wanted.follow else WHOLE_SECONDS,
                ) as stream:
                    while piece := await stream.read():
                        yield piece
                return
            except Invalid as error:
                # Its container is being made.
                if not wanted.follow:
                    raise rest.WrongPhase(error.message or "the member has not begun to write") from error
            except ApiError as error:
                raise _refusal(error, member) from error
            await asyncio.sleep(PAUSE_SECONDS)

    async def _member(self, job_id: str, wanted: LogRequest) -> Member:
        while True:
            with in_words_of_the_api():
                job = await self._jobs.get(parse_id(job_id))
                attempts = await self._jobs.attempts(job.id, 1 if wanted.attempt is None else MOST_ATTEMPTS)
            found = next((each for each in attempts if wanted.attempt in (None, each.attempt)), None)
            if found is not None:
                return member_of(job, found, wanted.member)
            if not wanted.follow or job.phase in ENDED:
                raise rest.WrongPhase(f"the job is {job.phase}, and no such attempt has begun")
            await self._live.changed(job.id, job.version)


def member_of(job: Job, attempt: Attempt, ordinal: int) -> Member:
    """The pod of a member; only attempts that are pods have any."""
    if not attempt.holder.startswith(HOLDER_PREFIX):
        raise rest.NotFound("a pool worker runs this attempt: it has no log of its own")
    number = attempt.holder.rpartition("/")[2]
    return Member(job.namespace, f"{job.name}-{number if number.isdigit() else attempt.attempt}-{ordinal}")


def _parameters(wanted: LogRequest) -> dict[str, str]:
    parameters = {"follow": "true"} if wanted.follow else {"limitBytes": str(LARGEST_LOG)}
    if wanted.tail is not None:
        parameters["tailLines"] = str(wanted.tail)
    return parameters


def _refusal(error: ApiError, member: Member) -> rest.ServiceError:
    match error:
        case NotFound():
            return rest.NotFound(f"there is no pod {member.pod}: it never was, or it is gone and its log with it")
        case TooManyRequests():
            return rest.Overloaded(error.retry_after, "the API server asks to wait")
        case _:
            log.warning("a log cannot be read", pod=member.pod, error=str(error)[:300])
            return rest.StorageAway("the member's node does not give its log now")
