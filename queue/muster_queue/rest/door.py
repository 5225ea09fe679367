"""The one door: nobody gets to a handler who was not known and allowed, by the table of operations."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from muster_kube.serve import AsgiApp, Message, Receive, Send
from muster_queue.identity.access import Access
from muster_queue.identity.bearer import bearer_token
from muster_queue.identity.caller import Caller
from muster_queue.identity.errors import IdentityError
from muster_queue.rest.identifiers import pool_of, read_job_id
from muster_queue.rest.metrics import RestMetrics
from muster_queue.rest.operations import Extent, Operation
from muster_queue.rest.problems import Kind, ProblemError, problem_of
from muster_queue.rest.queries import NamespaceQuery, Query, read_query
from muster_queue.rest.routing import Match, RouteTable
from muster_queue.rest.service import JobRecord
from muster_queue.rest.service_errors import ServiceError
from muster_queue.rest.wire import DisconnectedError, Scope, answer_problem, check_headers

log = structlog.get_logger(__name__)

ENTRY: Final = "muster.entry"
"""Where a request's scope keeps its Entry."""
_GET_JOB: Final = Access(verb="get", resource="aijobs")
Find = Callable[[str], Awaitable[JobRecord]]


class Gate(Protocol):
    """Who is asking, and what they may; identity.gatekeeper is one."""

    async def authenticate(self, token: str, peer: str) -> Caller: ...

    async def may(self, caller: Caller, access: Access) -> bool: ...


class Entry:
    """A request that was let in: who it is from, what it is for, and what the door has read of it already."""

    __slots__ = ("_gate", "caller", "is_allowed", "job", "operation", "parameters", "query")

    def __init__(self, gate: Gate, operation: Operation, caller: Caller, query: Query) -> None:
        self._gate = gate
        self.operation = operation
        self.caller = caller
        self.query = query
        self.job: JobRecord | None = None
        self.parameters: Mapping[str, str] = {}
        self.is_allowed = False

    async def require(self, access: Access) -> None:
        """Goes on only if the caller may; raises a ProblemError."""
        if not await self.may(access):
            raise ProblemError(Kind.FORBIDDEN, f"{self.caller.name} may not {access}")
        self.is_allowed = True

    async def may(self, access: Access) -> bool:
        return await self._gate.may(self.caller, access)

    def the_job(self) -> JobRecord:
        """The job in the path, as the door has read it."""
        if self.job is None:
            raise ProblemError(Kind.BROKEN, "this path names no job")
        return self.job


def entry_of(scope: Mapping[str, Any]) -> Entry:
    entry: Entry = scope[ENTRY]
    return entry


class Door:
    """An ASGI application around all handlers. What is not in the table does not exist, whoever asks."""

    def __init__(
        self, table: RouteTable, handlers: Mapping[str, AsgiApp], gate: Gate, find: Find, metrics: RestMetrics
    ) -> None:
        self._table = table
        self._handlers = handlers
        self._gate = gate
        self._find = find
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begin = time.perf_counter()
        watched = _Watched(send)
        match = self._table.match(scope["path"])
        operation = match.methods.get(scope["method"])
        try:
            await self._serve(scope, receive, watched, match)
        except DisconnectedError:
            return
        except (ProblemError, ServiceError, IdentityError) as error:
            await self._refuse(scope, receive, watched, error if isinstance(error, ProblemError) else problem_of(error))
        except Exception:
            # Whatever it was, the next request must find the process alive.
            log.exception("a request could not be answered", operation=operation.name if operation else "other")
            await self._refuse(scope, receive, watched, ProblemError(Kind.BROKEN, "the log of the api says more"))
        seconds = None if watched.is_stream else time.perf_counter() - begin
        self._metrics.count(operation.name if operation else "other", watched.status, seconds)

    async def _serve(self, scope: Scope, receive: Receive, watched: _Watched, match: Match) -> None:
        check_headers(scope)
        operation = match.methods.get(scope["method"])
        if operation is not None and operation.extent is Extent.PUBLIC:
            read_query(scope["query_string"], operation.query)
            await self._handlers[operation.name](scope, receive, watched.send)
            return
        caller = await self._gate.authenticate(bearer_token(scope["headers"]), _peer(scope))
        if operation is None:
            raise _nothing_there(match)
        entry = Entry(self._gate, operation, caller, read_query(scope["query_string"], operation.query))
        entry.parameters = match.parameters
        await self._admit(entry)
        scope[ENTRY] = watched.entry = entry
        await self._handlers[operation.name](scope, receive, watched.send)

    async def _admit(self, entry: Entry) -> None:
        need, extent = entry.operation.need, entry.operation.extent
        if need is None:
            raise ProblemError(Kind.FORBIDDEN, "nobody may do this")
        match extent:
            case Extent.BODY:
                # Its handler asks for each namespace as it reads it; until then no success leaves the door.
                return
            case Extent.JOB:
                await self._admit_to_job(entry, need, read_job_id(entry.parameters["job_id"]))
            case Extent.POOL:
                namespace, _ = pool_of(entry.parameters)
                await entry.require(msgspec.structs.replace(need, namespace=namespace))
            case Extent.QUERY if isinstance(entry.query, NamespaceQuery):
                await entry.require(msgspec.structs.replace(need, namespace=entry.query.namespace or ""))
            case _:
                await entry.require(need)

    async def _admit_to_job(self, entry: Entry, need: Access, job_id: str) -> None:
        entry.job = await self._find(job_id)
        here = entry.job.namespace
        wanted = msgspec.structs.replace(need, namespace=here)
        if not await entry.may(wanted) and not await entry.may(msgspec.structs.replace(_GET_JOB, namespace=here)):
            # Whoever may not even read it is not told that it exists.
            raise ProblemError(Kind.NOT_FOUND, "there is no such job, or you may not see it")
        await entry.require(wanted)

    async def _refuse(self, scope: Scope, receive: Receive, watched: _Watched, error: ProblemError) -> None:
        if watched.status:
            # The answer has begun and cannot be taken back; ended without its last piece, the client sees it broken.
            log.warning("an answer was broken off", problem=error.kind.slug, status=watched.status)
            return
        if error.kind is Kind.BROKEN:
            log.error("a request failed inside", detail=error.problem.detail)
        await answer_problem(scope, receive, watched.send, error)


class _Watched:
    """Sees what is sent, and lets no success out that nobody was asked about."""

    __slots__ = ("_send", "entry", "is_stream", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.entry: Entry | None = None
        self.status = 0
        self.is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.entry is not None and not self.entry.is_allowed and message["status"] < 300:
                raise RuntimeError(f"{self.entry.operation.name} was done without asking whether it may be")
            self.status = message["status"]
            self.is_stream = not any(name == b"content-length" for name, _ in message["headers"])
        await self._send(message)


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _nothing_there(match: Match) -> ProblemError:
    if not match.methods:
        return ProblemError(Kind.NOT_FOUND, "there is nothing at this path; /docs says what there is")
    allowed = ", ".join(sorted(match.methods))
    return ProblemError(Kind.WRONG_METHOD, f"send {allowed}", headers=((b"allow", allowed.encode()),))
