"""One HTTP session to the API server: bytes in, bytes out, a timeout on every call, and our own errors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import aiohttp
import msgspec
from aiohttp import AddrInfoType
from yarl import URL

from muster_kube.credentials import Credentials
from muster_kube.errors import AmbiguousWrite, ApiError, Unauthorized, Unavailable, error_from_answer

JSON: Final = "application/json"
CONNECT_TIMEOUT: Final = 5.0
KEEP_ALIVE: Final = 90.0
"""Seconds that an idle connection is kept: a handshake costs more than many requests, and work comes in bursts."""
READ_BUFFER_BYTES: Final = 1 << 20

Params = Mapping[str, str]

# Refused, unresolvable, wrong certificate: the request never left this machine.
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ClientSSLError, aiohttp.ConnectionTimeoutError)
_NO_ANSWER: Final = (aiohttp.ClientError, OSError, asyncio.TimeoutError)
_READS: Final = frozenset({"GET", "HEAD"})


class Response(msgspec.Struct, frozen=True, gc=False):
    """A successful answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    params: Params | None
    timeout: aiohttp.ClientTimeout

    @property
    def is_write(self) -> bool:
        return self.method not in _READS


class _ConnectionLost(Unavailable):
    """The connection died before the answer was complete."""


class ByteStream:
    """The body of an answer that has no end yet."""

    def __init__(self, call: _Call, content: aiohttp.StreamReader) -> None:
        self._call = call
        self._content = content

    async def read(self) -> bytes:
        """Whatever has arrived, at least one byte; empty at a clean end, Unavailable at any other."""
        try:
            return await self._content.readany()
        except _NO_ANSWER as error:
            raise _no_answer(self._call, error) from error


class ApiSession:
    """A pool of connections to one API server.

    Nothing is retried in here but reads on a connection that the server had closed meanwhile, and one attempt with
    fresh credentials after a 401; writes are retried by callers, who know what an unknown outcome means to them.
    """

    def __init__(
        self, credentials: Credentials, *, connection_limit: int = 64, timeout: float = 10.0, user_agent: str = "muster"
    ) -> None:
        self._credentials = credentials
        self._limit = connection_limit
        self._timeout = timeout
        self._headers = {"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": user_agent}
        self._client: aiohttp.ClientSession | None = None

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        connection_limit: int = 64,
        timeout: float = 10.0,
        user_agent: str = "muster",
    ) -> ApiSession:
        """With this kubeconfig, else $KUBECONFIG, else the pod's service account; opens no connection yet."""
        credentials = await Credentials.find(kubeconfig)
        return cls(credentials, connection_limit=connection_limit, timeout=timeout, user_agent=user_agent)

    async def __aenter__(self) -> ApiSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection; open watches end with Unavailable."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def get(self, path: str, params: Params | None = None, *, timeout: float | None = None) -> bytes:
        """The body at this path. Without `resourceVersion` among the parameters it is a quorum read."""
        return (await self.request("GET", path, params=params, timeout=timeout)).body

    async def list(self, path: str, params: Params | None = None, *, timeout: float = 60.0) -> bytes:
        """One page of a collection; like `get`, with the patience that large answers need."""
        return (await self.request("GET", path, params=params, timeout=timeout)).body

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = JSON,
        params: Params | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Sends it and reads the whole answer; every other outcome than 2xx is raised as an ApiError."""
        headers = {"Content-Type": content_type} if body is not None else {}
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout, sock_connect=CONNECT_TIMEOUT)
        call = _Call(method, path, body, headers, params, limit)
        try:
            return await self._exchange(call)
        except Unauthorized:
            # Definitely not executed, so sending it again is safe for writes as well.
            await self._credentials.refresh()
        except _ConnectionLost:
            # Only reads end like this, mostly on a pooled connection that the server had closed meanwhile.
            pass
        return await self._exchange(call)

    @asynccontextmanager
    async def stream(self, path: str, params: Params, *, idle_timeout: float) -> AsyncIterator[ByteStream]:
        """A response read as it arrives; silence longer than `idle_timeout` ends it as Unavailable.

        That is the only protection against a half-open connection, over which nothing ever comes again.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout)
        call = _Call("GET", path, None, {}, params, limit)
        try:
            response = await self._send(call)
        except _NO_ANSWER as error:
            raise _no_answer(call, error) from error
        # Errors of whoever consumes the stream pass through untouched: only reading is translated, in ByteStream.
        try:
            if response.status >= 300:
                raise await self._refusal(call, response)
            yield ByteStream(call, response.content)
        finally:
            _hang_up(response)

    async def _refusal(self, call: _Call, response: aiohttp.ClientResponse) -> ApiError:
        try:
            error = await _error(call, response)
        except _NO_ANSWER as lost:
            return _no_answer(call, lost)
        if isinstance(error, Unauthorized):
            await self._credentials.refresh()
        return error

    async def _exchange(self, call: _Call) -> Response:
        try:
            async with await self._send(call) as response:
                if response.status >= 300:
                    raise await _error(call, response)
                return Response(response.status, await response.read())
        except _NO_ANSWER as error:
            raise _no_answer(call, error) from error

    async def _send(self, call: _Call) -> aiohttp.ClientResponse:
        if self._client is None:
            self._client = self._make_client()
        headers = dict(call.headers)
        authorization = await self._credentials.authorization()
        if authorization is not None:
            headers["Authorization"] = authorization
        return await self._client.request(
            call.method,
            URL(self._credentials.server + call.path, encoded=True),
            data=call.body,
            headers=headers,
            params=call.params,
            timeout=call.timeout,
            allow_redirects=False,
            proxy=self._credentials.proxy,
            server_hostname=self._credentials.tls_server_name,
            read_bufsize=READ_BUFFER_BYTES,
        )

    def _make_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._limit,
            keepalive_timeout=KEEP_ALIVE,
            ssl=self._credentials.ssl_context() or False,
            socket_factory=_socket_that_notices_dead_peers,
        )
        client = aiohttp.ClientSession(
            connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )
        # aiohttp would send a PUT or DELETE again by itself after a lost connection: the second one then meets a
        # conflict with the first, and the caller would take its own success for another writer's.
        client._retry_connection = False
        return client


def _socket_that_notices_dead_peers(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
    ):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Ends a stream at once: a TLS goodbye would wait for the server's, which has more to send."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def _error(call: _Call, response: aiohttp.ClientResponse) -> ApiError:
    body = await response.read()
    return error_from_answer(
        response.status, body, is_write=call.is_write, retry_after=response.headers.get("Retry-After")
    )


def _no_answer(call: _Call, error: BaseException) -> Unavailable:
    message = f"{call.method} {call.path}: {type(error).__name__} {error}".rstrip()
    if isinstance(error, _NOT_SENT):
        return Unavailable(0, "NotSent", message)
    if call.is_write:
        return AmbiguousWrite(0, "NoAnswer", message)
    if isinstance(error, asyncio.TimeoutError):
        return Unavailable(0, "Timeout", message)
    return _ConnectionLost(0, "ConnectionLost", message)
