"""Requests that never end, against a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from muster_kube import http_protocol
from muster_kube.serve import HttpServer, Receive, Send, respond

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


async def slow_answer(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Reads the body, then takes longer than a request may."""
    while (message := await receive()).get("more_body", False):
        pass
    if message["type"] == "http.disconnect":
        return
    await asyncio.sleep(2 * http_protocol.REQUEST_SECONDS)
    await respond(send, 200, b"done")


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", 0.2)
    server = HttpServer(slow_answer, "127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    await server.started.wait()
    yield server.port
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def talk(port: int, sent: bytes) -> bytes:
    """Everything that comes back until the server closes, or has given one whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = b""
        while b"done" not in answer and (more := await reader.read(4096)):
            answer += more
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST / HTTP/1.1\r\nHost:", id="headers that do not end"),
        pytest.param(REQUEST + b"12345", id="a body that does not end"),
    ],
)
async def test_a_request_that_never_ends_is_refused(port: int, sent: bytes) -> None:
    answer = await talk(port, sent)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"took too long" in answer


async def test_an_answer_may_take_its_time(port: int) -> None:
    answer = await talk(port, REQUEST + b"1234567890")
    assert answer.startswith(b"HTTP/1.1 200")
