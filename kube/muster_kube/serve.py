"""HTTP for the services: uvicorn in the caller's loop, set up for kube-scheduler and the API server as clients."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import uvicorn

from muster_kube.http_protocol import KEEP_ALIVE_SECONDS, DirectHandler, HttpProtocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

BACKLOG: Final = 2048
JSON_TYPE: Final = b"application/json"
TEXT_TYPE: Final = b"text/plain; charset=utf-8"


async def respond(send: Send, status: int, body: bytes, content_type: bytes = JSON_TYPE) -> None:
    """Answers in one piece with a Content-Length: kube-scheduler's client gets no chunked answers from us."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
        direct: Mapping[bytes, DirectHandler] | None = None,
    ) -> None:
        """`direct` are handlers of POST, by path, that may answer small requests without a task of their own."""
        self.started = asyncio.Event()
        self.host = host
        self.port = port
        """The port asked for; once started the one that is open, which differs where 0 was asked for."""
        self._app = app
        self._tls = tls
        self._grace_seconds = grace_seconds
        self._direct = direct or {}

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
        # Whatever makes a protocol will do; uvicorn's own type asks for a class.
        protocol: Any = partial(HttpProtocol, direct=self._direct)
        return uvicorn.Config(
            self._app,
            http=protocol,
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
