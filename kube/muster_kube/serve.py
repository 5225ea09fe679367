"""HTTP for the services: uvicorn in the caller's loop, set up for kube-scheduler and the API server as clients."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

KEEP_ALIVE_SECONDS: Final = 120
"""Longer than the 90 s after which Go's client drops an idle connection: only the client may close one."""

REQUEST_SECONDS: Final = 30.0
"""From a request's first byte to its last."""

_STATUS_LINE: Final = b"HTTP/1.1 "
HEADER_BYTES: Final = 64 << 10
BACKLOG: Final = 2048
JSON_TYPE: Final = b"application/json"
TEXT_TYPE: Final = b"text/plain; charset=utf-8"


async def respond(send: Send, status: int, body: bytes, content_type: bytes = JSON_TYPE) -> None:
    """Answers in one piece with a Content-Length: kube-scheduler's client gets no chunked answers from us."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _OneWrite:
    """A transport that sends the head of an answer with the beginning of its body: one system call, not two.

    A head that nothing follows leaves in the next round of the loop.
    """

    __slots__ = ("_head", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_STATUS_LINE):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


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
        one_write: Any = _OneWrite(transport, self.loop)
        self.transport = one_write

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

    def on_headers_complete(self) -> None:
        self._in_headers = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.send_400_response("Request headers too large.")

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


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: asyncio.Event) -> None:
        super().__init__(config)
        self._started_event = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, which has more to stop than this server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started_event.set()


class HttpServer:
    """One listening port. `run` is a supervised task; cancelling it answers what is under way and then ends."""

    def __init__(
        self,
        app: AsgiApp,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        grace_seconds: int = 5,
    ) -> None:
        self.started = asyncio.Event()
        self.host = host
        self.port = port
        """The port asked for; once started the one that is open, which differs where 0 was asked for."""
        self._app = app
        self._tls = tls
        self._grace_seconds = grace_seconds

    async def run(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        self.port = int(listening.getsockname()[1])
        server = _Server(self._configuration(), self.started)
        serving = asyncio.create_task(server.serve(sockets=[listening]), name=f"uvicorn {self.port}")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise
        finally:
            listening.close()

    def _configuration(self) -> uvicorn.Config:
        tls = self._tls
        return uvicorn.Config(
            self._app,
            http=_BoundedRequests,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self._grace_seconds,
            ssl_context_factory=None if tls is None else lambda config, default: tls,
        )
