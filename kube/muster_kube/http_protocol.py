"""HTTP/1.1 on one connection: uvicorn's protocol with bounds, and a short way for the requests of a hot route."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS: Final = 120
"""Longer than the 90 s after which Go's client drops an idle connection: only the client may close one."""

REQUEST_SECONDS: Final = 30.0
"""From a request's first byte to its last."""

HEADER_BYTES: Final = 64 << 10
LARGEST_DIRECT: Final = 64 << 10
"""Larger bodies go the ordinary way."""

Headers = Sequence[tuple[bytes, bytes]]


class _BoundedRequests(HttpToolsProtocol):
    """Refuses a request whose headers do not end, or that takes for ever: uvicorn itself would wait and collect."""

    _header_bytes = 0
    _in_headers = False
    _deadline = math.inf
    """Of the loop's clock; one timer for each connection looks at it now and then, since one for each request costs."""
    _watch: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Only a client may close a connection that it might be about to use.
        self._deadline = self.loop.time() + KEEP_ALIVE_SECONDS

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._deadline = self.loop.time() + REQUEST_SECONDS

    def on_message_complete(self) -> None:
        self._deadline = math.inf
        super().on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are dropped: they are bounded by nothing, and none may stand where a header was looked for."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for a timer of the pause until the next request: there is one for the connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._deadline = self.loop.time() + self.timeout_keep_alive

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.send_400_response("Request headers too large.")

    def send_400_response(self, msg: str) -> None:
        """What is wrong behind a whole request is not said in place of its answer, only by the end after that."""
        before = self.cycle
        if before is None or before.response_complete or before.more_body:
            super().send_400_response(msg)
            return
        before.keep_alive = False
        self.flow.pause_reading()

    def _look(self) -> None:
        now = self.loop.time()
        if now >= self._deadline:
            self._refuse_to_wait()
        else:
            self._watch = self.loop.call_at(min(self._deadline, now + REQUEST_SECONDS), self._look)

    def _refuse_to_wait(self) -> None:
        if self.cycle is None or not self.cycle.response_started:
            self.send_400_response("Request took too long.")
        self.transport.close()


class DirectCall:
    """A whole request that its handler answers when it can; to uvicorn it is the cycle that a connection is busy with.

    The next request of the connection, if it was sent without waiting, is served once this one is answered.
    """

    __slots__ = (
        *("body", "disconnected", "headers", "keep_alive", "message_event", "response_complete", "response_started"),
        "_protocol",
    )
    more_body: Final = False

    def __init__(self, protocol: HttpProtocol, headers: Headers, body: bytes, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.headers = headers
        """Names in lower case, as they came."""
        self.body = body
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.message_event: asyncio.Event | _NobodyWaits = _NOBODY_WAITS

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends the whole answer at once; of a client who has gone it is not heard."""
        if self.response_complete:
            raise RuntimeError("a request has one answer")
        self.response_started = self.response_complete = True
        self._protocol.answer_directly(self, status, headers, body)


class _NobodyWaits:
    """uvicorn sets a cycle's event when its client has gone; nobody waits for that of a direct call."""

    def set(self) -> None:
        return


_NOBODY_WAITS: Final = _NobodyWaits()
DirectHandler = Callable[[DirectCall], bool]
"""Takes a request, and says so, or leaves it to the application, which then reads it anew. Never waits.

One that fails has not taken it.
"""


class HttpProtocol(_BoundedRequests):
    """Offers small whole requests of some paths to their handlers before it makes scopes and tasks of them."""

    def __init__(self, *arguments: Any, direct: Mapping[bytes, DirectHandler], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._direct = direct
        self._handler: DirectHandler | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def on_message_begin(self) -> None:
        """Leaves the scope to whoever needs one."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._in_headers, self._header_bytes = True, 0
        self._deadline = self.loop.time() + REQUEST_SECONDS

    def on_headers_complete(self) -> None:
        handler = self._direct.get(self.url)
        if handler is None or not self._may_be_direct():
            self._begin_the_ordinary_way()
            return
        self._in_headers = False
        self._handler, self._pieces, self._size = handler, [], 0

    def on_body(self, body: bytes) -> None:
        if self._handler is None:
            super().on_body(body)
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._size > LARGEST_DIRECT:
            self._go_the_ordinary_way()

    def on_message_complete(self) -> None:
        handler = self._handler
        if handler is not None:
            call = DirectCall(
                self, self.headers, b"".join(self._pieces), keep_alive=bool(self.parser.should_keep_alive())
            )
            if _takes(handler, call):
                self._handler, self._deadline = None, math.inf
                self._occupy(call)
                return
            self._go_the_ordinary_way()
        super().on_message_complete()

    def shutdown(self) -> None:
        """As uvicorn's, for which a request on its way is a cycle that is to be answered before the end."""
        if self._handler is not None:
            self._go_the_ordinary_way()
        super().shutdown()

    def answer_directly(self, call: DirectCall, status: int, headers: Headers, body: bytes) -> None:
        """For the call's own answer."""
        if self.transport.is_closing():
            return
        pieces = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            pieces += (name, b": ", value, b"\r\n")
        if not call.keep_alive:
            pieces.append(b"connection: close\r\n")
        pieces += (b"\r\n", body)
        self.transport.write(b"".join(pieces))
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _may_be_direct(self) -> bool:
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            # Only the application waits for a client who does not read its answers.
            and not self.flow.write_paused
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )

    def _occupy(self, call: DirectCall) -> None:
        """An answer that was sent from within the handler has freed the connection already."""
        cycle: Any = call
        self.cycle = cycle

    def _go_the_ordinary_way(self) -> None:
        """As if the request had come just now."""
        pieces, self._handler, self._pieces = self._pieces, None, []
        self._begin_the_ordinary_way()
        for piece in pieces:
            super().on_body(piece)

    def _begin_the_ordinary_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()


def _takes(handler: DirectHandler, call: DirectCall) -> bool:
    """What fails within the parser would be told to the client as its own mistake."""
    try:
        return handler(call)
    except Exception:
        log.exception("request goes the ordinary way")
        return False
