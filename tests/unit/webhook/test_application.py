"""The HTTP side without a network: what comes back for whatever comes in."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings

from bones.malformed import GENERATED, GOOD_JOB, GOOD_POD, WRITTEN
from muster_webhook.application import LARGEST_BODY, make_application
from muster_webhook.handlers import Handlers

HANDLERS = Handlers(("nvidia.com/gpu",)).by_path()
APPLICATION = make_application(HANDLERS)
JSON_HEADERS = [(b"content-type", b"application/json")]


def call(
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: list[tuple[bytes, bytes]] | None = None,
    chunk: int = 1 << 16,
) -> tuple[int, bytes]:
    parts = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": JSON_HEADERS if headers is None else headers}

    async def serve() -> None:
        await APPLICATION(scope, receive, send)

    asyncio.run(serve())
    return sent[0]["status"], sent[1]["body"]


def is_answer(status: int, body: bytes) -> bool:
    """A complete review, or an error that says something."""
    if status == 200:
        response = json.loads(body)["response"]
        return bool(response["uid"]) and (response["allowed"] or bool(response["status"]["message"]))
    return 400 <= status < 500 and bool(body)


@pytest.mark.parametrize("path", HANDLERS)
@pytest.mark.parametrize("body", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_written_malformed_body_is_answered(path: str, body: bytes) -> None:
    status, answer = call(path, body)
    assert is_answer(status, answer), (status, answer[:300])
    assert len(answer) < 10_000


@pytest.mark.parametrize("path", HANDLERS)
def test_generated_malformed_bodies_are_answered(path: str) -> None:
    @settings(max_examples=250, deadline=None, database=None)
    @given(body=GENERATED)
    def each(body: bytes) -> None:
        status, answer = call(path, body)
        assert is_answer(status, answer), (status, answer[:300])

    each()


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ([], 415),
        ([(b"content-type", b"text/plain")], 415),
        ([(b"content-type", b"application/yaml")], 415),
        ([(b"content-type", b"\xff\xfe")], 415),
        ([(b"content-type", b"application/json; charset=utf-8")], 200),
        ([(b"content-type", b"Application/JSON")], 200),
        ([*JSON_HEADERS, (b"content-length", str(LARGEST_BODY + 1).encode())], 413),
        ([*JSON_HEADERS, (b"content-length", b"9" * 100)], 413),
        ([*JSON_HEADERS, (b"content-length", b"-1")], 413),
    ],
)
def test_headers_are_looked_at_before_the_body(headers: list[tuple[bytes, bytes]], want: int) -> None:
    assert call("/mutate/pods", json.dumps(GOOD_POD).encode(), headers=headers)[0] == want


def test_a_body_without_a_stated_length_is_bounded_as_well() -> None:
    status, answer = call("/mutate/pods", b" " * (LARGEST_BODY + 1))
    assert (status, answer) == (413, b"the body is too large; at most 3145728 bytes are read")


def test_the_largest_body_is_read() -> None:
    body = json.dumps(GOOD_POD).encode()
    assert call("/mutate/pods", body + b" " * (LARGEST_BODY - len(body)))[0] == 200


def test_unknown_paths_and_methods() -> None:
    assert call("/mutate", b"{}")[0] == 404
    assert call("/mutate/pods", b"", method="GET")[0] == 405


def test_versions_that_are_not_understood_are_named() -> None:
    status, answer = call("/mutate/pods", WRITTEN["v1beta1"])
    assert status == 400
    assert b"send apiVersion 'admission.k8s.io/v1'" in answer


def test_good_reviews_pass() -> None:
    for path, review in (("/mutate/pods", GOOD_POD), ("/mutate/crs", GOOD_JOB), ("/validate/crs", GOOD_JOB)):
        status, answer = call(path, json.dumps(review).encode())
        assert (status, json.loads(answer)["response"]["allowed"]) == (200, True)
