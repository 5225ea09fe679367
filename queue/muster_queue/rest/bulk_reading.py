"""Cuts a bulk into its jobs while it arrives, with no more of it in memory than one job and one piece."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.wire import LARGEST_JOB

NDJSON: Final = b"application/x-ndjson"
_PIECE: Final = 256 << 10
_TRIES: Final = 4
_BOUNDARY: Final = re.compile(rb"}\s*,")
_TOKENS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
"""Reads each byte once, also where a string has no end yet."""
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SPACE: Final = b" \t\r\n"

Items = list[bytes | msgspec.Raw]


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[Items]:
    """The lines of NDJSON; empty ones are nothing."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        found: Items = [line for line in whole if line.strip()]
        if len(rest) > LARGEST_JOB:
            raise _job_too_large()
        if found:
            yield found
    if rest.strip():
        yield [rest]


async def elements(chunks: AsyncIterator[bytes]) -> AsyncIterator[Items]:
    """The elements of a JSON array.

    Whatever begins an array and ends after an object at its first level is an array itself once `]` is put behind it;
    so it is cut at the last `},` for which that is so, and the decoder, not we, knows about strings and nesting.
    """
    buffer, wanted, is_open = b"", _PIECE, False
    async for chunk in chunks:
        buffer += chunk
        if not is_open:
            buffer = buffer.lstrip(_SPACE)
            if not buffer:
                continue
            if not buffer.startswith(b"["):
                raise ProblemError(Kind.MALFORMED, "a bulk is a JSON array of jobs")
            buffer, is_open = buffer[1:], True
        if len(buffer) < wanted:
            continue
        found, buffer = await _cut(buffer)
        wanted = len(buffer) + _PIECE
        if len(buffer) > LARGEST_JOB + _PIECE:
            raise _job_too_large()
        if found:
            yield found
    if not is_open:
        raise ProblemError(Kind.MALFORMED, "a bulk is a JSON array of jobs; the body is empty")
    yield _decoded(b"[" + buffer)


async def _cut(buffer: bytes) -> tuple[Items, bytes]:
    """The elements that are whole, and the rest."""
    likely = _cut_at_a_likely_place(buffer)
    return await asyncio.to_thread(_cut_exactly, buffer) if likely is None else likely


def _cut_at_a_likely_place(buffer: bytes) -> tuple[Items, bytes] | None:
    """None where the last few places that look like it are not between two elements."""
    ends = [found.start() + 1 for found in _BOUNDARY.finditer(buffer)]
    for end in ends[: -_TRIES - 1 : -1]:
        try:
            return list(_ARRAY.decode(b"[" + buffer[:end] + b"]")), _after_comma(buffer, end)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None


def _cut_exactly(buffer: bytes) -> tuple[Items, bytes]:
    """The same, sign by sign; in a thread, since it takes long and only strange bulks need it."""
    end = _last_end(buffer)
    if end == 0:
        return [], buffer
    return _decoded(b"[" + buffer[:end] + b"]"), _after_comma(buffer, end)


def _last_end(buffer: bytes) -> int:
    """Where the last element ends that something follows."""
    depth = end = 0
    for token in _TOKENS.finditer(buffer):
        sign = token.group()
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth == 0 and _BOUNDARY.match(buffer, token.start()):
                end = token.end()
    return end


def _after_comma(buffer: bytes, end: int) -> bytes:
    return buffer[buffer.index(b",", end) + 1 :]


def _decoded(array: bytes) -> Items:
    try:
        return list(_ARRAY.decode(array))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(Kind.MALFORMED, f"the array is no JSON that can be read: {error}") from None


def _job_too_large() -> ProblemError:
    return ProblemError(Kind.TOO_LARGE, f"one job is larger than {LARGEST_JOB} bytes")
