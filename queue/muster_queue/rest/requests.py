"""Small bodies of the routes that are not hot."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request

from muster_api.shapes import decode_shape
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.submissions import whole_numbers
from muster_queue.rest.wire import LARGEST_CHANGE, check_depth, read_body, require_json

T = TypeVar("T", bound=msgspec.Struct)
LARGEST_SECOND_READING: Final = 64 << 10


async def read_request(request: Request, kind: type[T]) -> T:
    """The body as this struct, or a problem that names every field that is not right."""
    require_json(request.scope)
    body = await read_body(request.scope, request.receive, LARGEST_CHANGE)
    check_depth(body)
    return understood(body, kind)


def understood(body: bytes, kind: type[T]) -> T:
    """The struct, also where its whole numbers are written as 4.0, or a problem that names every wrong field."""
    found, errors = decode_shape(body, kind)
    if found is not None:
        return found
    # A large body comes from a program, which writes them as they are.
    if len(body) <= LARGEST_SECOND_READING:
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(msgspec.json.encode(whole_numbers(msgspec.json.decode(body))), type=kind)
    raise ProblemError(Kind.INVALID, str(errors[0]), errors)


async def no_body(request: Request) -> None:
    """Of routes that read none; a small one that somebody sends all the same does no harm."""
    await read_body(request.scope, request.receive, LARGEST_CHANGE)
