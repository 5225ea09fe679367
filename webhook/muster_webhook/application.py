"""The HTTP side: one path per purpose, bounded bodies, and an answer to whatever comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import structlog

from muster_kube.serve import JSON_TYPE, TEXT_TYPE, AsgiApp, Receive, Send
from muster_webhook.metrics import REQUESTS, SECONDS
from muster_webhook.reviews import AdmissionRequest, ReviewError, decode_request

log = structlog.get_logger(__name__)

LARGEST_BODY: Final = 3 << 20
"""The API server's own limit for an object; a review carries at most the old and the new one in that."""

Result = tuple[str, bytes]
Handler = Callable[[AdmissionRequest], Result]
Headers = list[tuple[bytes, bytes]]


def make_application(handlers: Mapping[str, Handler]) -> AsgiApp:
    """An ASGI application that gives each path's reviews to its handler."""

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        handler = handlers.get(path)
        try:
            if handler is None:
                raise ReviewError(404, f"no such path; there are {', '.join(handlers)}")
            _check_head(scope)
            body = await _read_body(receive)
        except ReviewError as refused:
            REQUESTS.labels(path if handler else "other", "refused").inc()
            await _respond(send, refused.status, refused.message.encode(errors="replace"), TEXT_TYPE, close=True)
            return
        status, answer, kind = _answer(path, handler, body)
        await _respond(send, status, answer, kind)

    return application


def _answer(path: str, handler: Handler, body: bytes) -> tuple[int, bytes, bytes]:
    begin = time.perf_counter()
    try:
        result, answer = handler(decode_request(body))
        status, kind = 200, JSON_TYPE
    except ReviewError as refused:
        result, status, answer, kind = "refused", refused.status, refused.message.encode(errors="replace"), TEXT_TYPE
    except RecursionError:
        result, status, answer, kind = "refused", 400, b"the object is nested too deeply", TEXT_TYPE
    except Exception:
        # Whatever it was, the next request must find the process alive; API servers take it as a failed call.
        log.exception("an admission request could not be answered", path=path)
        result, status, answer, kind = "refused", 500, b"internal error; the log says more", TEXT_TYPE
    SECONDS.labels(path).observe(time.perf_counter() - begin)
    REQUESTS.labels(path, result).inc()
    return status, answer, kind


def _check_head(scope: MutableMapping[str, Any]) -> None:
    if scope["method"] != "POST":
        raise ReviewError(405, "send POST with an AdmissionReview")
    headers = dict(scope["headers"])
    media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media != JSON_TYPE:
        raise ReviewError(415, f"Content-Type {media[:60].decode('latin-1')!r}: send application/json")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 12 or int(length) > LARGEST_BODY:
        raise _too_large()


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body", False):
        return _bounded(message.get("body", b""))
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ReviewError(400, "the connection was closed before the request was complete")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > LARGEST_BODY:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()


def _bounded(body: bytes) -> bytes:
    if len(body) > LARGEST_BODY:
        raise _too_large()
    return body


def _too_large() -> ReviewError:
    return ReviewError(413, f"the body is too large; at most {LARGEST_BODY} bytes are read")


async def _respond(send: Send, status: int, body: bytes, kind: bytes, *, close: bool = False) -> None:
    headers: Headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if close:
        # The rest of the request is not worth reading.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
