"""The short way of a submission: taken where all is plain, and told from the ordinary way by nothing but its speed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bones.rest_world import ANN, JOB, Answer, RestWorld
from muster_queue.identity import access
from muster_queue.rest import direct
from muster_queue.rest.service_errors import NameTaken, Overloaded, ServiceError, StorageAway, Unstorable

PLAIN = {"Content-Type": "application/json"}
ORDINARY = {**PLAIN, "X-Anything": "1"}
"""A header that the short way does not know."""
DIFFERENT = ("job_id", "name", "created_at", "queued_at")


async def post(world: RestWorld, body: Any, headers: dict[str, str], **more: Any) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await world.ask("POST", "/api/v1/jobs/", data=io.BytesIO(data), headers=headers, **more)


def comparable(answer: Answer) -> tuple[int, dict[str, str], Any]:
    body = answer.json()
    identity = body.get("job_id", "")
    told = {name: value for name, value in body.items() if name not in DIFFERENT}
    headers = {name: value.replace(identity, "ID") for name, value in answer.headers.items() if name != "Date"}
    headers.pop("Content-Length")
    return answer.status, headers, told


@pytest.fixture
async def known(world: RestWorld) -> RestWorld:
    """Ann's token and right were asked about before."""
    await world.submit()
    world.jobs.begun = 0
    return world


async def test_the_first_of_a_caller_goes_the_ordinary_way_and_the_next_the_short_one(world: RestWorld) -> None:
    await world.submit()
    assert world.jobs.begun == 0
    for count in range(1, 4):
        job = await world.submit(labels={"team": "a"}, name=f"job-{count}")
        assert world.jobs.begun == count
        assert world.jobs.jobs[job["job_id"]].submitted_by == ANN
    metrics = (await world.ask("GET", "/metrics")).body.decode()
    assert 'muster_api_requests_total{operation="submit_job",status="201"} 4.0' in metrics
    assert 'muster_api_request_seconds_count{operation="submit_job"} 4.0' in metrics


async def test_both_ways_answer_alike(known: RestWorld) -> None:
    short, ordinary = await post(known, JOB, PLAIN), await post(known, JOB, ORDINARY)
    assert known.jobs.begun == 1
    assert comparable(short) == comparable(ordinary)
    assert short.status == 201


@pytest.mark.parametrize(
    "failure",
    [StorageAway("x"), Overloaded(3.2, "too fast"), NameTaken(), Unstorable("no such value")],
    ids=lambda failure: type(failure).__name__,
)
async def test_both_ways_fail_alike(known: RestWorld, failure: ServiceError) -> None:
    known.jobs.failures = [failure]
    short = await post(known, JOB, PLAIN)
    known.jobs.failures = [failure]
    ordinary = await post(known, JOB, ORDINARY)
    assert known.jobs.begun == 1
    assert comparable(short) == comparable(ordinary)
    assert short.status >= 400


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", PLAIN),
        ({**JOB, "priority": 101}, PLAIN),
        ({**JOB, "gang": {"enabled": True}}, PLAIN),
        ({**JOB, "namespace": "kube-system"}, PLAIN),
        (JOB, {"Content-Type": "text/plain"}),
        (JOB, {**PLAIN, "Idempotency-Key": "a"}),
        (JOB, {**PLAIN, "Idempotency-Key": "a b"}),
        (JOB, {**PLAIN, "Content-Encoding": "gzip"}),
        (JOB, {**PLAIN, "User-Agent": "x" * 2000}),
        (JOB, {**PLAIN, **{f"X-{number}": "x" for number in range(80)}}),
        (b'{"job_type":"inference","image":"i","config":{"a":"' + b"x" * (2 << 20) + b'"}}', PLAIN),
    ],
    ids=[
        *("json", "field", "gang", "namespace", "media", "key", "wrong key", "encoding", "long header"),
        *("many headers", "large body"),
    ],
)
async def test_whatever_is_not_plain_goes_through_the_door(
    known: RestWorld, body: Any, headers: dict[str, str]
) -> None:
    known.reviews.forbid(ANN, "kube-system")
    answer = await post(known, body, headers)
    assert known.jobs.begun == 0
    assert answer.status in (201, 400, 403, 413, 415, 422, 431)


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "somebody-else"}, {"iss": "somebody-else"}])
async def test_a_token_that_is_not_believed_gets_nowhere(known: RestWorld, claims: dict[str, Any]) -> None:
    answer = await post(known, JOB, PLAIN, token=known.token(**claims))
    assert (answer.status, known.jobs.begun) == (401, 0)


@pytest.fixture
def brief_rights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(access, "ALLOWED_SECONDS", 0.0)
    yield


async def test_a_right_that_has_to_be_asked_about_again_is(brief_rights: None, known: RestWorld) -> None:
    known.reviews.forbid(ANN)
    answer = await post(known, JOB, PLAIN)
    assert (answer.status, known.jobs.begun) == (403, 0)


async def test_an_answer_that_cannot_be_written_leaves_nobody_waiting(
    known: RestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "etag", lambda job: "\ud800")
    answer = await post(known, JOB, PLAIN)
    assert (answer.status, known.jobs.begun) == (503, 1)
    assert answer.json()["job_id"] in known.jobs.jobs
