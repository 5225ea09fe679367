"""The short way of a hot route, on a real port: who is answered there, and that all others notice nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from muster_kube.http_protocol import LARGEST_DIRECT, DirectCall
from muster_kube.serve import HttpServer, Receive, Send, respond

PATH = b"/direct"


class Desk:
    """A handler that keeps its calls until the test answers them, and an application that says what it has read."""

    def __init__(self) -> None:
        self.takes = True
        self.failure: Exception | None = None
        self.calls: asyncio.Queue[DirectCall] = asyncio.Queue()
        self.is_passed = asyncio.Event()

    def __call__(self, call: DirectCall) -> bool:
        if self.failure is not None:
            raise self.failure
        if self.takes:
            self.calls.put_nowait(call)
        return self.takes

    async def application(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.is_passed.set()
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        names = b",".join(name for name, _ in scope["headers"])
        await respond(send, 200, b"read %d at %s with %s" % (len(body), scope["path"].encode(), names), b"text/plain")


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, body: bytes, *, path: bytes = PATH, method: bytes = b"POST", head: bytes = b"") -> None:
        self.send_raw(request(body, path, method, head))

    def send_raw(self, sent: bytes) -> None:
        self._writer.write(sent)

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next one."""
        async with asyncio.timeout(10):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head, await self._reader.readexactly(length)

    async def answer_text(self) -> bytes:
        head, body = await self.answer()
        assert head.startswith(b"HTTP/1.1 200")
        return body

    async def interim(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.read() == b""

    async def leave(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def server(desk: Desk) -> AsyncIterator[HttpServer]:
    server = HttpServer(desk.application, "127.0.0.1", 0, direct={PATH: desk}, grace_seconds=5)
    running = asyncio.create_task(server.run(), name="server under test")
    await server.started.wait()
    yield server
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        yield client
    finally:
        await client.leave()


def request(body: bytes, path: bytes = PATH, method: bytes = b"POST", head: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + head + length + b"\r\n" + body


def reply(call: DirectCall) -> None:
    call.answer(201, [(b"content-length", b"%d" % len(call.body)), (b"x-mark", b"1")], call.body)


async def test_a_call_is_answered_when_its_handler_likes(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        for body in (b"one", b"", b"two"):
            client.send(body, head=b"X-Name: Value\r\n")
            call = await desk.calls.get()
            assert (call.body, dict(call.headers)[b"x-name"]) == (body, b"Value")
            reply(call)
            head, answered = await client.answer()
            assert answered == body
            assert head.startswith(b"HTTP/1.1 201 Created\r\n")
            assert b"\r\nx-mark: 1\r\n" in head
            assert b"\r\ndate: " in head


async def test_what_is_left_is_read_by_the_application_from_its_beginning(server: HttpServer, desk: Desk) -> None:
    desk.takes = False
    async with connected(server) as client:
        for body in (b"one", b"", b"x" * LARGEST_DIRECT):
            client.send(body, head=b"X-Name: Value\r\n")
            assert await client.answer_text() == b"read %d at /direct with host,x-name,content-length" % len(body)


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ({"method": b"PUT"}, b"one"),
        ({"path": b"/direct?a=b"}, b"one"),
        ({"path": b"/other"}, b"one"),
        ({}, b"x" * (LARGEST_DIRECT + 1)),
        ({}, b"x" * (3 << 20)),
    ],
    ids=["method", "query", "path", "large", "very large"],
)
async def test_what_is_not_for_the_handler_is_not_shown_to_it(
    server: HttpServer, desk: Desk, how: dict[str, bytes], body: bytes
) -> None:
    async with connected(server) as client:
        client.send(body, **how)
        assert (await client.answer_text()).startswith(b"read %d at " % len(body))
    assert desk.calls.empty()


async def test_a_client_that_waits_to_be_told_to_go_on_is_told(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send_raw(b"POST /direct HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.interim()).startswith(b"HTTP/1.1 100")
        client.send_raw(b"one")
        assert (await client.answer_text()).startswith(b"read 3 at ")
    assert desk.calls.empty()


async def test_chunks_and_slow_bodies_are_collected(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send_raw(b"POST /direct HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        client.send_raw(b"3\r\ntwo\r\n0\r\n\r\n")
        reply(call := await desk.calls.get())
        assert call.body == b"onetwo"
        assert (await client.answer())[1] == b"onetwo"


async def test_requests_sent_at_once_are_answered_in_their_order(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        paths = [(b"one", PATH), (b"two", PATH), (b"12345", b"/other"), (b"three", PATH)]
        client.send_raw(b"".join(request(body, path) for body, path in paths))
        first = await desk.calls.get()
        # Those behind the first wait for it, and go through the application.
        reply(first)
        assert (await client.answer())[1] == b"one"
        assert [await client.answer_text() for _ in range(3)] == [
            b"read 3 at /direct with host,content-length",
            b"read 5 at /other with host,content-length",
            b"read 5 at /direct with host,content-length",
        ]
        client.send(b"four")
        reply(await desk.calls.get())
        assert (await client.answer())[1] == b"four"


async def test_the_answer_to_a_client_who_has_gone_is_dropped(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send(b"one")
        call = await desk.calls.get()
        call.message_event = gone = asyncio.Event()
    await gone.wait()
    reply(call)
    async with connected(server) as client:
        client.send(b"two")
        reply(await desk.calls.get())
        assert (await client.answer())[1] == b"two"


async def test_a_connection_that_is_to_be_closed_is(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send(b"one", head=b"Connection: close\r\n")
        reply(await desk.calls.get())
        head, _ = await client.answer()
        assert b"\r\nconnection: close\r\n" in head
        assert await client.ended()


async def test_a_server_that_ends_answers_what_it_has_taken(server: HttpServer, desk: Desk) -> None:
    (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "server under test"]
    async with connected(server) as client, connected(server) as idle:
        client.send(b"one")
        call = await desk.calls.get()
        running.cancel()
        assert await idle.ended()
        assert not running.done()
        reply(call)
        head, body = await client.answer()
        assert (body, b"connection: close" in head) == (b"one", True)
        assert await client.ended()


async def test_a_call_has_one_answer(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send(b"one")
        call = await desk.calls.get()
        reply(call)
        with pytest.raises(RuntimeError, match="one answer"):
            reply(call)
        await client.answer()


async def test_what_is_wrong_behind_a_call_does_not_answer_for_it(server: HttpServer, desk: Desk) -> None:
    async with connected(server) as client:
        client.send_raw(request(b"one", PATH) + b"no request at all\r\n\r\n")
        reply(await desk.calls.get())
        head, body = await client.answer()
        assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 201 Created", b"one")
        assert b"connection: close" in head
        assert await client.ended()


async def test_a_handler_that_fails_leaves_the_request_to_the_application(server: HttpServer, desk: Desk) -> None:
    desk.failure = ValueError("a mistake")
    async with connected(server) as client:
        for _ in range(2):
            client.send(b"one")
            assert await client.answer_text() == b"read 3 at /direct with host,content-length"


async def test_trailers_are_no_headers(server: HttpServer, desk: Desk) -> None:
    desk.takes = False
    async with connected(server) as client:
        for path in (PATH, b"/other"):
            head = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
            client.send_raw(head + b"3\r\none\r\n0\r\nAuthorization: Bearer a\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.answer_text()).endswith(b" with host,transfer-encoding")


async def test_a_client_that_reads_nothing_is_not_answered_for_ever(server: HttpServer, desk: Desk) -> None:
    body = b"x" * LARGEST_DIRECT
    async with connected(server) as client, asyncio.timeout(10):
        while not desk.is_passed.is_set():
            client.send(body)
            call = asyncio.create_task(desk.calls.get())
            passed = asyncio.create_task(desk.is_passed.wait())
            await asyncio.wait((call, passed), return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                reply(call.result())
            call.cancel()
            passed.cancel()


async def test_a_request_that_is_being_sent_when_the_server_ends_is_answered(server: HttpServer, desk: Desk) -> None:
    (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "server under test"]
    async with connected(server) as client, connected(server) as idle:
        client.send_raw(request(b"one", PATH)[:-1])
        # The server has read the one before the other.
        idle.send(b"two", path=b"/other")
        await idle.answer_text()
        running.cancel()
        assert await idle.ended()
        client.send_raw(b"e")
        assert await client.answer_text() == b"read 3 at /direct with host,content-length"
        assert await client.ended()
