"""The extender's HTTP side as a plain ASGI application: a framework would cost more than the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import structlog

from muster_extender.freshness import Freshness
from muster_extender.held_calls import HeldCall
from muster_extender.metrics import Metrics
from muster_extender.protocol import ProtocolError
from muster_extender.verbs import Verbs
from muster_kube.clock import Clock
from muster_kube.serve import TEXT_TYPE, Receive, Send, respond

log = structlog.get_logger(__name__)

LARGEST_BODY: Final = 16 << 20
TRANSIT_SECONDS: Final = 1.0
"""How much earlier the scheduler may have started its clock than we saw the request."""

Handler = Callable[[bytes, float], bytes]


class BodyTooLargeError(Exception):
    """More bytes than any scheduler would send."""


class ExtenderApp:
    """Routes /filter, /prioritize, /preempt and /bind."""

    def __init__(self, verbs: Verbs, freshness: Freshness, clock: Clock, metrics: Metrics, bind_timeout: float) -> None:
        self._verbs = verbs
        self._freshness = freshness
        self._clock = clock
        self._metrics = metrics
        self._bind_timeout = bind_timeout
        self._immediate: dict[str, Handler] = {
            "/filter": verbs.filter,
            "/prioritize": verbs.prioritize,
            "/preempt": verbs.preempt,
        }

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path != "/bind" and path not in self._immediate:
            await respond(send, 404, b"not found: POST /filter, /prioritize, /preempt or /bind", TEXT_TYPE)
        elif scope["method"] != "POST":
            await _refuse_method(send)
        elif not self._freshness.is_built:
            await respond(send, 503, "; ".join(self._freshness.missing()).encode(), TEXT_TYPE)
        else:
            await self._answer(path, receive, send)

    async def _answer(self, path: str, receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(receive)
            if body is None:
                return
            answer = await self._bind(body, receive) if path == "/bind" else self._immediately(path, body)
        except BodyTooLargeError:
            await respond(send, 413, f"larger than {LARGEST_BODY} bytes".encode(), TEXT_TYPE)
        except ProtocolError as error:
            await respond(send, 400, str(error).encode("utf-8", "replace"), TEXT_TYPE)
        except Exception:
            log.exception("request failed", path=path)
            await respond(send, 500, b"internal error", TEXT_TYPE)
        else:
            if answer is not None:
                await respond(send, 200, answer)

    def _immediately(self, path: str, body: bytes) -> bytes:
        since = self._clock.monotonic()
        answer = self._immediate[path](body, since)
        self._metrics.seconds[path[1:]].observe(self._clock.monotonic() - since)
        return answer

    async def _bind(self, body: bytes, receive: Receive) -> bytes | None:
        """The answer, or None when nobody is there any more to read it."""
        since = self._clock.monotonic()
        call = HeldCall(since + self._bind_timeout - TRANSIT_SECONDS)
        watching = asyncio.ensure_future(_watch_socket(receive, call))
        try:
            answer = await self._verbs.bind(body, call)
        finally:
            call.on_close = None
            watching.cancel()
        self._metrics.seconds["bind"].observe(self._clock.monotonic() - since)
        return answer if call.is_open else None


def _watch_socket(receive: Receive, call: HeldCall) -> Awaitable[None]:
    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        call.close()

    return watch()


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None when the client left before it was complete."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > LARGEST_BODY:
            raise BodyTooLargeError
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _refuse_method(send: Send) -> None:
    body = b"use POST"
    headers = [(b"content-type", TEXT_TYPE), (b"content-length", str(len(body)).encode()), (b"allow", b"POST")]
    await send({"type": "http.response.start", "status": 405, "headers": headers})
    await send({"type": "http.response.body", "body": body})
