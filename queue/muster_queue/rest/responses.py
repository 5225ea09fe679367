"""Answers of the routes that are not hot, as Starlette's responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from muster_kube.serve import AsgiApp
from muster_queue.rest.answers import ListAnswer, answer_job, encode, etag
from muster_queue.rest.queries import PageQuery, next_page
from muster_queue.rest.service import JobRecord, Page

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
STANDING = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def as_app(handler: Handler) -> AsgiApp:
    """The handler as the door calls it."""
    app: AsgiApp = request_response(handler)
    return app


def say(answer: Any, **headers: str) -> Response:
    return Response(encode(answer), media_type="application/json", headers={**STANDING, **headers})


def say_job(job: JobRecord) -> Response:
    return say(answer_job(job), etag=etag(job))


def say_page(query: PageQuery, page: Page[Any], items: Sequence[T]) -> Response:
    return say(ListAnswer[T](items=list(items), next=next_page(query, page.next)))
