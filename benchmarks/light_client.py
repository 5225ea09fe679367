"""An HTTP client that costs little: one connection, one request at a time, bodies with a Content-Length."""

from __future__ import annotations

import asyncio
from typing import cast


class Connection(asyncio.Protocol):
    """Keeps its connection; answers are (status, body)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, and do the same.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server has hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        place = head.find(b"content-length:") + 15
        length = int(head[place:].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length or self._answer is None:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        self._buffer.clear()
        self._answer.set_result((int(head[9:12]), body))

    def post(self, head: bytes, body: bytes) -> asyncio.Future[tuple[int, bytes]]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Client:
    """As many connections as are needed at once."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._idle: list[Connection] = []

    def head(self, path: str) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self._token}\r\n"
            "content-type: application/json\r\n"
        ).encode()

    async def post(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        answer = await connection.post(head, body)
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
