"""Reading bodies and writing answers as plain ASGI: bounded, and with the same headers everywhere."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from muster_api.traces import read_traceparent
from muster_kube.serve import JSON_TYPE, Receive, Send
from muster_queue.rest.problems import PROBLEM_TYPE, Kind, ProblemError

Scope = MutableMapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

LARGEST_JOB: Final = 1 << 20
LARGEST_CHANGE: Final = 4 << 10
LARGEST_HEADERS: Final = 32 << 10
MOST_HEADERS: Final = 64
DEEPEST_JSON: Final = 64
BODY_READ: Final = "muster.body-read"
"""Set in a request's scope once its whole body has been read: until then the connection is good for nothing else."""

_MOST_SKIPPED: Final = 2 << 20
_SKIP_SECONDS: Final = 2.0
_STANDING: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Reads each byte once: nothing is given back, and a string that has no end goes on to the end of the body."""
_NO_BRACKETS: Final = bytes(each for each in range(256) if each not in b"[]{}")


async def answer(send: Send, status: int, body: bytes, kind: bytes = JSON_TYPE, headers: Headers = ()) -> None:
    """A whole answer in one piece."""
    head = [*standing_headers(body, kind), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def standing_headers(body: bytes, kind: bytes = JSON_TYPE) -> Headers:
    """What every answer has."""
    return ((b"content-type", kind), (b"content-length", str(len(body)).encode()), *_STANDING)


async def answer_problem(scope: Scope, receive: Receive, send: Send, error: ProblemError) -> None:
    """The problem, and the end of the connection where the rest of the request is not worth reading."""
    headers = list(error.headers)
    if not scope.get(BODY_READ) and _has_body(scope):
        await _skip(scope, receive)
    if not scope.get(BODY_READ) and _has_body(scope):
        headers.append((b"connection", b"close"))
    await answer(send, error.kind.status, msgspec.json.encode(error.problem), PROBLEM_TYPE, headers)


def check_headers(scope: Scope) -> None:
    """Bounds them more tightly than the server does, which has to know the path first."""
    headers = scope["headers"]
    size = sum([len(name) + len(value) for name, value in headers])
    if size > LARGEST_HEADERS or len(headers) > MOST_HEADERS:
        detail = f"at most {MOST_HEADERS} headers of {LARGEST_HEADERS} bytes together are read"
        raise ProblemError(Kind.LARGE_HEADERS, detail)


def header(scope: Scope, name: bytes) -> bytes | None:
    """The one header of this name; raises where it was sent twice."""
    found = None
    for each, value in scope["headers"]:
        if each == name:
            if found is not None:
                raise ProblemError(Kind.MALFORMED, f"send one {name.decode()} header")
            found = value
    return found


def text_header(scope: Scope, name: bytes) -> str | None:
    value = header(scope, name)
    return None if value is None else value.decode("latin-1").strip()


def trace_of(scope: Scope) -> str | None:
    """The request's trace context. One that is invalid or was sent twice is no mistake: it is as if there were none."""
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return read_traceparent(found[0].decode("latin-1").strip(" \t")) if len(found) == 1 else None


def media_type(scope: Scope) -> bytes:
    return (header(scope, b"content-type") or b"").split(b";")[0].strip().lower()


def require_json(scope: Scope, accepted: Sequence[bytes] = (JSON_TYPE,)) -> bytes:
    """The media type of the body, which has to be one of these."""
    media = media_type(scope)
    if media not in accepted:
        names = " or ".join(each.decode() for each in accepted)
        raise ProblemError(Kind.WRONG_MEDIA, f"send the body as {names}", headers=((b"accept", b", ".join(accepted)),))
    return media


async def read_body(scope: Scope, receive: Receive, largest: int) -> bytes:
    """The whole body, or a problem before more than `largest` bytes of it are kept."""
    _check_length(scope, largest)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        scope[BODY_READ] = True
        body: bytes = message.get("body", b"")
        if len(body) > largest:
            raise too_large(largest)
        return body
    chunks, size = [_body_of(message)], len(_body_of(message))
    async for chunk in _rest(scope, receive):
        size += len(chunk)
        if size > largest:
            raise too_large(largest)
        chunks.append(chunk)
    return b"".join(chunks)


async def stream_body(scope: Scope, receive: Receive, largest: int) -> AsyncIterator[bytes]:
    """The body as it comes; raises once it is larger than allowed."""
    _check_length(scope, largest)
    size = 0
    async for chunk in _rest(scope, receive):
        size += len(chunk)
        if size > largest:
            raise too_large(largest)
        yield chunk


async def _rest(scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        chunk = _body_of(message)
        more = message.get("more_body", False)
        if not more:
            scope[BODY_READ] = True
        if chunk:
            yield chunk


def _body_of(message: MutableMapping[str, Any]) -> bytes:
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    body: bytes = message.get("body", b"")
    return body


class DisconnectedError(Exception):
    """The client has gone before its request was complete: there is nobody to answer."""


async def _skip(scope: Scope, receive: Receive) -> None:
    """Throws the rest of a body away, if it is not long: clients that are still writing do not see an early answer."""
    skipped = 0
    with suppress(DisconnectedError, TimeoutError):
        async with asyncio.timeout(_SKIP_SECONDS):
            async for chunk in _rest(scope, receive):
                skipped += len(chunk)
                if skipped > _MOST_SKIPPED:
                    return


def too_large(largest: int) -> ProblemError:
    return ProblemError(Kind.TOO_LARGE, f"at most {largest} bytes are read")


def _check_length(scope: Scope, largest: int) -> None:
    length = header(scope, b"content-length")
    if length is not None and (not length.isdigit() or len(length) > 12 or int(length) > largest):
        raise too_large(largest)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def check_depth(data: bytes) -> None:
    """Refuses JSON of more levels than anybody needs, before anything is built of it."""
    # As many brackets as levels are needed at least: for nearly all bodies counting them is all there is to do.
    if data.count(b"{") + data.count(b"[") <= DEEPEST_JSON:
        return
    brackets = _STRINGS.sub(b"", data).translate(None, delete=_NO_BRACKETS)
    for _ in range(DEEPEST_JSON):
        # Each round takes the innermost level away, at the speed of C however many brackets there are.
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise ProblemError(Kind.MALFORMED, f"no JSON, or more than {DEEPEST_JSON} levels of it, which are not read")
