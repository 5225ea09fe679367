"""Nobody gets past the door: every route without, with a false, and with somebody else's token."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from bones.rest_world import ANN, BOB, JOB, VERBS, RestWorld
from muster_queue.identity.access import Access
from muster_queue.rest.operations import JOB_PARAMETER, OPERATIONS, Extent, Operation

GUARDED = [operation for operation in OPERATIONS if operation.extent is not Extent.PUBLIC]
OF_A_JOB = [operation for operation in GUARDED if operation.extent is Extent.JOB]
names = pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)
jobs = pytest.mark.parametrize("operation", OF_A_JOB, ids=lambda operation: operation.name)


def path_of(operation: Operation, job_id: str = "") -> str:
    path = operation.path.replace(JOB_PARAMETER, job_id or str(uuid4()))
    return path.replace("{namespace}", "team").replace("{queue}", "default")


def body_of(operation: Operation) -> dict[str, Any]:
    bodies: dict[str, Any] = {"submit_job": JOB, "submit_jobs": [JOB], "change_job": {"priority": 5}}
    bodies |= {"lease_jobs": {"worker": "w"}, "acknowledge_jobs": {"worker": "w"}}
    bodies["heartbeat_jobs"] = {"worker": "w", "attempts": []}
    return {"json": bodies[operation.name]} if operation.name in bodies else {}


def test_only_what_is_of_nobody_is_public() -> None:
    public = {operation.name for operation in OPERATIONS if operation.extent is Extent.PUBLIC}
    assert public == {"healthz", "readyz", "openapi", "docs"}
    assert all(operation.need is not None for operation in GUARDED)


@names
async def test_nobody_comes_in_without_a_token(world: RestWorld, operation: Operation) -> None:
    answer = await world.ask(operation.method, path_of(operation), token="", **body_of(operation))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="muster"'
    assert answer.headers["Content-Type"] == "application/problem+json"


@names
async def test_a_token_that_has_expired_opens_nothing(world: RestWorld, operation: Operation) -> None:
    token = world.token(exp=1_000_000_000)
    answer = await world.ask(operation.method, path_of(operation), token=token, **body_of(operation))
    assert answer.status == 401
    assert "expired" in answer.json()["detail"]


@names
async def test_a_token_of_somebody_without_rights_opens_nothing(world: RestWorld, operation: Operation) -> None:
    job = await world.submit(namespace="team")
    path = path_of(operation, job["job_id"])
    before = dict(world.jobs.jobs)
    answer = await world.ask(operation.method, path, token=world.token("bob"), **body_of(operation))
    assert answer.status == {Extent.JOB: 404}.get(operation.extent, 422 if operation.name == "submit_jobs" else 403)
    assert b"resnet50" not in answer.body
    assert job["job_id"].encode() not in answer.body
    assert world.jobs.jobs == before


@names
async def test_a_valid_token_comes_through(world: RestWorld, operation: Operation) -> None:
    job = await world.submit()
    answer = await world.ask(operation.method, path_of(operation, job["job_id"]), **body_of(operation))
    # Nobody serves pools here: their handler says so, which it can only once the door has let the caller in.
    accepted = (503,) if operation.extent is Extent.POOL else (200, 201, 409)
    assert answer.status in accepted, answer.body


@jobs
async def test_a_job_that_may_be_read_is_there_but_cannot_be_changed(world: RestWorld, operation: Operation) -> None:
    world.reviews.allow(BOB, "list", namespace="team")
    world.reviews.allow(BOB, "get", namespace="team")
    job = await world.submit(namespace="team")
    path = path_of(operation, job["job_id"])
    answer = await world.ask(operation.method, path, token=world.token("bob"), **body_of(operation))
    assert answer.status == (200 if operation.method == "GET" else 403), answer.body


@jobs
async def test_a_job_that_is_not_there_looks_like_one_that_may_not_be_seen(
    world: RestWorld, operation: Operation
) -> None:
    absent = await world.ask(operation.method, path_of(operation), **body_of(operation))
    job = await world.submit(namespace="team")
    path = path_of(operation, job["job_id"])
    hidden = await world.ask(operation.method, path, token=world.token("bob"), **body_of(operation))
    assert (absent.status, absent.body) == (hidden.status, hidden.body)


async def test_rights_are_asked_for_in_the_namespace_of_the_job(world: RestWorld) -> None:
    world.reviews.allow(BOB, *VERBS, namespace="bobs")
    token = world.token("bob", namespace="bobs")
    mine = await world.ask("POST", "/api/v1/jobs/", token=token, json=JOB)
    assert (mine.status, mine.json()["namespace"]) == (201, "bobs")
    assert (await world.ask("POST", "/api/v1/jobs/", token=token, json={**JOB, "namespace": "team"})).status == 403
    assert (await world.ask("GET", "/api/v1/jobs/?namespace=bobs", token=token)).status == 200
    assert (await world.ask("GET", "/api/v1/jobs/", token=token)).status == 403


async def test_a_bulk_lands_only_where_its_author_may_create_jobs(world: RestWorld) -> None:
    world.reviews.allow(BOB, *VERBS, namespace="bobs")
    bulk = [{**JOB, "namespace": "bobs"}, {**JOB, "namespace": "team"}]
    answer = await world.ask("POST", "/api/v1/jobs/bulk", token=world.token("bob"), json=bulk)
    assert answer.status == 207
    assert [item["status"] for item in answer.json()["items"]] == [201, 403]
    assert [job.namespace for job in world.jobs.jobs.values()] == ["bobs"]


async def test_service_accounts_come_in_by_token_review(world: RestWorld) -> None:
    account = "system:serviceaccount:team:runner"
    world.reviews.accounts["opaque"] = {"username": account, "groups": ["system:authenticated"], "uid": "u"}
    world.reviews.allow(account, "create", namespace="team")
    answer = await world.ask("POST", "/api/v1/jobs/", token="opaque", json=JOB)
    assert (answer.status, answer.json()["namespace"]) == (201, "team")
    asked = world.reviews.asked("SubjectAccessReview")[-1]["spec"]
    assert asked == {
        "user": account,
        "uid": "u",
        "groups": ["system:authenticated"],
        "resourceAttributes": {
            "verb": "create",
            "group": "aiplatform.example.com",
            "resource": "aijobs",
            "namespace": "team",
        },
    }


async def test_a_token_for_another_audience_opens_nothing(world: RestWorld) -> None:
    world.reviews.accounts["elsewhere"] = {"username": ANN}
    world.reviews.audiences["elsewhere"] = ["https://kubernetes.default.svc"]
    assert (await world.ask("GET", "/api/v1/jobs/", token="elsewhere")).status == 401


async def test_without_the_api_server_nobody_is_let_in_on_a_guess(world: RestWorld) -> None:
    world.reviews.is_away = True
    answer = await world.ask("GET", "/api/v1/jobs/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer  ", "Basic YTpi", "Bearer a b", "Bearer " + "a" * 8193])
async def test_strange_authorization_headers_are_refused(world: RestWorld, value: str) -> None:
    answer = await world.ask("GET", "/api/v1/jobs/", token="", headers={"Authorization": value})
    assert answer.status == 401


async def test_headers_are_bounded_for_everybody(world: RestWorld) -> None:
    for headers in ({"X": "a" * 8000} | {f"X{n}": "a" * 8000 for n in range(4)}, {f"X{n}": "a" for n in range(70)}):
        for path in ("/healthz", "/api/v1/jobs/"):
            answer = await world.ask("GET", path, headers=headers)
            assert (answer.status, answer.json()["type"]) == (431, "urn:muster:problem:large-headers")


async def test_what_does_not_exist_is_told_only_to_those_who_are_known(world: RestWorld) -> None:
    assert (await world.ask("GET", "/api/v2/jobs", token="")).status == 401
    assert (await world.ask("GET", "/api/v2/jobs")).status == 404
    for path in ("/api/v1/jobs//", "/api/v1//jobs", "/api/v1/jobs/%2e%2e/audit", "/API/v1/jobs"):
        assert (await world.ask("GET", path)).status == 404
    wrong = await world.ask("PUT", "/api/v1/jobs/")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_unknown_tokens_are_slowed_down_before_anybody_is_asked(
    world: RestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = world.token()
    assert (await world.ask("GET", "/api/v1/jobs/", token=known)).status == 200
    monkeypatch.setattr("muster_queue.identity.pace.Turnstile.wait_for", lambda *_: 0.5)
    answer = await world.ask("GET", "/api/v1/jobs/", token="made-up")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert world.reviews.asked("TokenReview") == []
    assert (await world.ask("GET", "/api/v1/jobs/", token=known)).status == 200


async def test_a_handler_that_forgets_to_ask_answers_nobody(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(self: object, access: Access) -> None:
        return None

    monkeypatch.setattr("muster_queue.rest.door.Entry.require", forget)
    assert (await world.ask("POST", "/api/v1/jobs/", json=JOB)).status == 500


async def test_a_failure_inside_tells_nothing_of_itself(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(job_id: str) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(world.jobs, "why", fail)
    job = await world.submit()
    answer = await world.ask("GET", f"/api/v1/jobs/{job['job_id']}/why")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert (await world.ask("GET", "/readyz", token="")).status == 200


async def test_every_operation_is_counted_by_its_own_name(world: RestWorld) -> None:
    await world.submit()
    await world.ask("GET", "/nowhere/at/all")
    told = (await world.ask("GET", "/metrics")).body.decode()
    assert 'muster_api_requests_total{operation="submit_job",status="201"} 1.0' in told
    assert 'muster_api_requests_total{operation="other",status="404"} 1.0' in told
