"""Answers without an end: events as they happen and logs as they are written, each no longer than its token holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec
from prometheus_client import Gauge
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from muster_kube.clock import Clock
from muster_queue.identity.caller import Caller
from muster_queue.rest.responses import STANDING
from muster_queue.rest.service import EventAnswer
from muster_queue.rest.service_errors import Overloaded, ServiceError

T = TypeVar("T")

MOST_STREAMS: Final = 500
MOST_PER_CALLER: Final = 20
LONGEST_SECONDS: Final = 3600.0
"""After which a client has to come again: rights are asked for only at the beginning."""
SIGN_OF_LIFE_SECONDS: Final = 15.0
_HELLO: Final = b"retry: 2000\n\n"
_SIGN_OF_LIFE: Final = b": still here\n\n"


class StreamSlots:
    """How many streams are open, together and for each caller."""

    def __init__(self, gauge: Gauge) -> None:
        self._taken = 0
        self._of_caller: Counter[str] = Counter()
        self._gauge = gauge

    def take(self, caller: Caller) -> Slot:
        """A slot, from now on until it is left; raises Overloaded where there is none."""
        if self._taken >= MOST_STREAMS or self._of_caller[caller.name] >= MOST_PER_CALLER:
            raise Overloaded(5.0, "too many streams are open; end one, or come again later")
        self._taken += 1
        self._of_caller[caller.name] += 1
        self._gauge.set(self._taken)
        return Slot(self, caller.name)

    def leave(self, name: str) -> None:
        self._taken -= 1
        self._of_caller[name] -= 1
        if not self._of_caller[name]:
            del self._of_caller[name]
        self._gauge.set(self._taken)


class Slot:
    """One stream's; leaving it twice is leaving it once."""

    def __init__(self, slots: StreamSlots, name: str) -> None:
        self._slots = slots
        self._name: str | None = name

    def leave(self) -> None:
        if self._name is not None:
            self._slots.leave(self._name)
            self._name = None


class SlottedResponse(StreamingResponse):
    """Leaves its slot when it has ended, also where its client has gone before the first piece."""

    def __init__(self, slot: Slot, content: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers=STANDING)
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slot.leave()


def seconds_left(caller: Caller, clock: Clock) -> float:
    """How long a stream may last that begins now."""
    if not caller.expires:
        return LONGEST_SECONDS
    return max(0.0, min(LONGEST_SECONDS, caller.expires - clock.now().timestamp()))


async def event_stream(events: AsyncGenerator[EventAnswer, None], seconds: float) -> AsyncIterator[bytes]:
    """Server-sent events; a comment now and then shows that the silence is not a dead connection."""
    yield _HELLO
    try:
        async with aclosing(_until(events, seconds, SIGN_OF_LIFE_SECONDS)) as timed:
            async for event in timed:
                yield _SIGN_OF_LIFE if event is None else _framed(event)
    except ServiceError as error:
        yield b"event: away\ndata: " + msgspec.json.encode({"detail": type(error).__name__}) + b"\n\n"
        return
    yield b"event: end\ndata: {}\n\n"


def _framed(event: EventAnswer) -> bytes:
    head = f"id: {event.number}\nevent: change\ndata: ".encode()
    return head + msgspec.json.encode(event) + b"\n\n"


async def log_stream(pieces: AsyncGenerator[bytes, None], seconds: float) -> AsyncIterator[bytes]:
    """The pieces as they come; an empty one, of which a client sees nothing, where there is nothing for a second."""
    async with aclosing(_until(pieces, seconds, 1.0)) as timed:
        async for piece in timed:
            yield piece or b""


async def _until(source: AsyncGenerator[T, None], seconds: float, patience: float) -> AsyncGenerator[T | None, None]:
    """What the source gives for so many seconds; None whenever it was silent for longer than `patience`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pending = asyncio.ensure_future(anext(source))
    try:
        while (left := deadline - loop.time()) > 0:
            done, _ = await asyncio.wait({pending}, timeout=min(left, patience))
            if not done:
                yield None
                continue
            try:
                given = pending.result()
            except StopAsyncIteration:
                return
            yield given
            pending = asyncio.ensure_future(anext(source))
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await source.aclose()
