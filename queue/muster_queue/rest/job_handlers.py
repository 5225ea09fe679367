"""What can be asked about a job, and done to it. The door has read the job and asked for the right already."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from muster_api.phases import JobPhase
from muster_kube.clock import Clock
from muster_queue.rest.answers import answer_details, answer_job, etag
from muster_queue.rest.conditions import expected_version, is_unchanged
from muster_queue.rest.door import Entry, entry_of
from muster_queue.rest.operations import PriorityRequest
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.queries import JobsQuery, LogsQuery, PageQuery, page_request, selected_labels
from muster_queue.rest.requests import no_body, read_request
from muster_queue.rest.responses import STANDING, Handler, say, say_job, say_page
from muster_queue.rest.service import Change, JobFilter, JobRecord, JobService, LogRequest
from muster_queue.rest.streams import SlottedResponse, StreamSlots, event_stream, log_stream, seconds_left
from muster_queue.rest.wire import text_header

T = TypeVar("T")
EVENT_STREAM: Final = "text/event-stream"
STILL: Final = frozenset({JobPhase.HELD, JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.DEAD_LETTER, JobPhase.CANCELLED})
"""Phases in which nothing changes without a new version: elsewhere progress does, and what a job waits for."""
Act = Callable[[Change], Awaitable[JobRecord]]


class JobHandlers:
    """One method for each operation on jobs."""

    def __init__(self, service: JobService, slots: StreamSlots, clock: Clock) -> None:
        self._service = service
        self._slots = slots
        self._clock = clock

    def by_name(self) -> Mapping[str, Handler]:
        service = self._service
        return {
            "list_jobs": self.list_jobs,
            "get_job": self.get_job,
            "cancel_job": _change(service.cancel),
            "change_job": self.change_job,
            "retry_job": _change(service.retry),
            "hold_job": _change(service.hold),
            "release_job": _change(service.release),
            "requeue_dead_letter": _change(service.requeue),
            "drop_dead_letter": _change(service.drop),
            "job_events": self.events,
            "job_logs": self.logs,
            "why": self.why,
        }

    async def list_jobs(self, request: Request) -> Response:
        query = query_of(request, JobsQuery)
        chosen = JobFilter(
            namespace=query.namespace or "",
            phase=query.phase,
            job_type=query.job_type,
            queue=query.queue or "",
            labels=selected_labels(query),
            created_after=query.created_after,
            created_before=query.created_before,
        )
        page = await self._service.list_jobs(chosen, page_request(query))
        return say_page(query, page, [answer_job(job) for job in page.items])

    async def get_job(self, request: Request) -> Response:
        job = entry_of(request.scope).the_job()
        if job.phase in STILL and is_unchanged(request.scope, job.version):
            return Response(status_code=304, headers={**STANDING, "etag": etag(job)})
        return say(answer_details(job, await self._service.attempts(job.job_id)), etag=etag(job))

    async def change_job(self, request: Request) -> Response:
        wanted = await read_request(request, PriorityRequest)
        change = _change_of(request)
        return say_job(await self._service.set_priority(change, wanted.priority))

    async def events(self, request: Request) -> Response:
        entry = entry_of(request.scope)
        after = _last_event(text_header(request.scope, b"last-event-id"))
        if request.method == "GET" and EVENT_STREAM in (text_header(request.scope, b"accept") or ""):
            return self._event_stream(entry, after)
        query = query_of(request, PageQuery)
        page = await self._service.events(entry.the_job().job_id, page_request(query))
        return say_page(query, page, page.items)

    async def logs(self, request: Request) -> Response:
        entry, query = entry_of(request.scope), query_of(request, LogsQuery)
        # A HEAD would wait for an end that it has no use for.
        wanted = LogRequest(
            follow=query.follow and request.method == "GET", tail=query.tail, member=query.member, attempt=query.attempt
        )
        pieces = self._service.logs(entry.the_job().job_id, wanted)
        stream = log_stream(pieces, seconds_left(entry.caller, self._clock))
        slot = self._slots.take(entry.caller)
        try:
            # The first piece is waited for, so that a failure is answered as one and not as an empty log.
            first = await anext(stream, b"")
        except BaseException:
            slot.leave()
            raise
        return SlottedResponse(slot, _begun(first, stream), "text/plain; charset=utf-8")

    async def why(self, request: Request) -> Response:
        return say(await self._service.why(entry_of(request.scope).the_job().job_id))

    def _event_stream(self, entry: Entry, after: int) -> Response:
        events = self._service.follow_events(entry.the_job().job_id, after)
        stream = event_stream(events, seconds_left(entry.caller, self._clock))
        return SlottedResponse(self._slots.take(entry.caller), stream, EVENT_STREAM)


async def _begun(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece


def query_of(request: Request, kind: type[T]) -> T:
    """The query as the door has read it."""
    query = entry_of(request.scope).query
    if not isinstance(query, kind):
        raise ProblemError(Kind.BROKEN, "this path has other parameters")
    return query


def _change(act: Act) -> Handler:
    async def handler(request: Request) -> Response:
        await no_body(request)
        return say_job(await act(_change_of(request)))

    return handler


def _change_of(request: Request) -> Change:
    entry = entry_of(request.scope)
    return Change(job_id=entry.the_job().job_id, actor=entry.caller.name, version=expected_version(request.scope))


def _last_event(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ProblemError(Kind.MALFORMED, "Last-Event-ID: write the number of the last event that you have seen")
    return int(text)
