"""Small bodies of the routes that are not hot."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from muster_api.shapes import decode_shape
from muster_queue.rest.problems import Kind, ProblemError
from muster_queue.rest.submissions import whole_numbers
from muster_queue.rest.wire import LARGEST_CHANGE, check_depth, read_body, require_json

T = TypeVar("T", bound=msgspec.Struct)


async def read_request(request: Request, kind: type[T]) -> T:
    """The body as this struct, or a problem that names every field that is not right."""
    require_json(request.scope)
    body = await read_body(request.scope, request.receive, LARGEST_CHANGE)
    check_depth(body)
    found, errors = decode_shape(body, kind)
    if found is not None:
        return found
    try:
        return msgspec.convert(whole_numbers(msgspec.json.decode(body)), kind)
    except (ValueError, RecursionError):
        raise ProblemError(Kind.INVALID, str(errors[0]), errors) from None


async def no_body(request: Request) -> None:
    """Of routes that read none; a small one that somebody sends all the same does no harm."""
    await read_body(request.scope, request.receive, LARGEST_CHANGE)
