"""Jobs over HTTP: read, listed, changed under conditions, followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest

from bones.rest_world import RestWorld
from muster_api.phases import JobPhase
from muster_queue.rest import streams
from muster_queue.rest.service import LogRequest
from muster_queue.rest.service_errors import OutcomeUnknown, StorageAway


async def test_a_page_leads_to_the_next_one_and_never_repeats(world: RestWorld) -> None:
    made = [(await world.submit())["job_id"] for _ in range(7)]
    seen: list[str] = []
    page = ""
    while True:
        answer = (await world.ask("GET", f"/api/v1/jobs/?limit=3{page}")).json()
        seen += [job["job_id"] for job in answer["items"]]
        await world.submit(labels={"later": "yes"})
        if answer["next"] is None or len(seen) > 20:
            break
        page = f"&page={answer['next']}"
    assert seen[:7] == sorted(made)
    assert len(seen) == len(set(seen))


async def test_a_page_belongs_to_its_filters(world: RestWorld) -> None:
    for _ in range(2):
        await world.submit()
    page = (await world.ask("GET", "/api/v1/jobs/?limit=1")).json()["next"]
    for query in (f"page={page}&queue=other", f"page={page[:-2]}", "page=bm9uZQ", f"page={page}=", f"page={page}%00"):
        answer = await world.ask("GET", f"/api/v1/jobs/?{query}")
        assert (answer.status, answer.json()["errors"][0]["field"]) == (400, "page"), query


async def test_jobs_are_chosen_by_what_they_are(world: RestWorld) -> None:
    one = await world.submit(queue="night", namespace="a", labels={"team": "vision", "stage": "test"})
    two = await world.submit(job_type="simulation", labels={"team": "vision"})
    await world.jobs.force(two["job_id"], JobPhase.RUNNING)
    wanted = {
        "queue=night": [one],
        "namespace=a": [one],
        "job_type=simulation": [two],
        "phase=Running": [two],
        "label=team=vision": [one, two],
        "label=team=vision,stage=test": [one],
        "label=team%3Daudio": [],
        "created_after=2026-01-01T00:00:00Z": [two],
        "created_before=2026-01-01T00:00:01%2B00:00": [one],
    }
    for query, jobs in wanted.items():
        found = (await world.ask("GET", f"/api/v1/jobs?{query}")).json()["items"]
        assert [job["job_id"] for job in found] == [job["job_id"] for job in jobs], query


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "sort=up", "phase=queued", "created_after=2026-01-01",
     "created_after=1767225600", "label=a", "namespace=A", "page=", "namespace=a%00", "queue=%FF",
     "&".join(f"a{number}=1" for number in range(30)), "a=" + "x" * 9000],
)  # fmt: skip
async def test_a_query_that_means_nothing_is_refused(world: RestWorld, query: str) -> None:
    assert (await world.ask("GET", f"/api/v1/jobs/?{query}")).status == 400


async def test_a_parameter_of_a_path_without_any_is_refused(world: RestWorld) -> None:
    assert (await world.ask("GET", "/healthz?verbose=1", token="")).status == 400


async def test_a_job_that_is_unchanged_is_not_sent_again(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    # What it waits for, and how far it is, changes without a new version.
    assert (await world.ask("GET", path, headers={"If-None-Match": "*"})).status == 200
    await world.ask("POST", f"{path}/hold")
    tag = (await world.ask("GET", path)).headers["ETag"]
    for text in (tag, f'"0", {tag}', "*", f"W/{tag}"):
        answer = await world.ask("GET", path, headers={"If-None-Match": text})
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert (await world.ask("GET", path, headers={"If-None-Match": '"7"'})).status == 200


async def test_a_change_meets_only_the_version_that_was_seen(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    held = await world.ask("POST", f"{path}/hold", headers={"If-Match": '"1"'})
    assert (held.status, held.json()["phase"], held.headers["ETag"]) == (200, "Held", '"2"')
    for tag in ('"1"', '"other"', '"02"', '"99999999999999999999"'):
        stale = await world.ask("POST", f"{path}/release", headers={"If-Match": tag})
        assert (stale.status, stale.json()["type"]) == (412, "urn:muster:problem:stale")
    for malformed in ("2", '"1", "2"', 'W/"2"'):
        assert (await world.ask("POST", f"{path}/release", headers={"If-Match": malformed})).status == 400
    assert (await world.ask("POST", f"{path}/release", headers={"If-Match": "*"})).status == 200


async def test_the_priority_of_a_job_changes(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    for written in ('{"priority": 7}', '{"priority": 7.0}'):
        sent = {"Content-Type": "application/json"}
        assert (await world.ask("PATCH", path, data=written.encode(), headers=sent)).json()["priority"] == 7
    wrong = await world.ask("PATCH", path, json={"priority": 101, "queue": "x"})
    assert {error["field"] for error in wrong.json()["errors"]} == {"priority", "queue"}
    assert (await world.ask("PATCH", path, json={"priority": 7, "x": "y" * 5000})).status == 413


async def test_what_its_phase_forbids_cannot_be_done_to_a_job(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    assert (await world.ask("DELETE", path)).json()["phase"] == "Cancelled"
    again = await world.ask("DELETE", path)
    assert (again.status, again.json()["detail"]) == (409, "the job is Cancelled")
    assert (await world.ask("POST", f"{path}/retry")).json()["phase"] == "Queued"


async def test_dead_letters_are_requeued_or_dropped(world: RestWorld) -> None:
    job_id = (await world.submit())["job_id"]
    await world.jobs.force(job_id, JobPhase.DEAD_LETTER)
    listed = (await world.ask("GET", "/api/v1/dead-letters")).json()["items"]
    assert [job["job_id"] for job in listed] == [job_id]
    assert (await world.ask("DELETE", f"/api/v1/dead-letters/{job_id}")).status == 200
    assert (await world.ask("POST", f"/api/v1/dead-letters/{job_id}/requeue")).json()["phase"] == "Queued"
    assert (await world.ask("DELETE", f"/api/v1/dead-letters/{job_id}")).status == 409


@pytest.mark.parametrize(("failure", "kind"), [(StorageAway(), "away"), (OutcomeUnknown(), "unknown-outcome")])
async def test_failures_of_a_change_say_whether_it_may_have_happened(world: RestWorld, failure: Any, kind: str) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    world.jobs.failures = [failure]
    answer = await world.ask("DELETE", path)
    assert (answer.status, answer.json()["type"]) == (503, f"urn:muster:problem:{kind}")
    assert int(answer.headers["Retry-After"]) > 0


async def test_ids_that_are_none_are_ids_of_no_job(world: RestWorld) -> None:
    job_id = (await world.submit())["job_id"]
    assert (await world.ask("GET", f"/api/v1/jobs/{job_id.upper()}")).status == 200
    for other in ("x", job_id.replace("-", ""), job_id + "0", "%00", "'; drop table jobs; --".replace(" ", "%20")):
        assert (await world.ask("GET", f"/api/v1/jobs/{other}")).status == 404


async def test_a_head_is_a_get_without_a_body(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    answer = await world.ask("HEAD", path)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, b"", '"1"')


class Events:
    """Reads one stream of server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> dict[str, str]:
        while True:
            lines = []
            while line := (await self._response.content.readline()).decode().strip():
                lines.append(line)
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "event" in fields:
                return fields


def listen(world: RestWorld, job_id: str, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {world.token()}", "Accept": "text/event-stream", **headers}
    return world.client.get(f"{world.url}/api/v1/jobs/{job_id}/events", headers=sent)


async def test_events_come_as_they_happen_and_go_on_where_they_were_lost(world: RestWorld) -> None:
    job_id = (await world.submit())["job_id"]
    async with listen(world, job_id) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = Events(response)
        first = await events.next()
        assert (first["id"], json.loads(first["data"])["phase"]) == ("1", "Pending")
        await world.jobs.force(job_id, JobPhase.QUEUED)
        assert json.loads((await events.next())["data"])["phase"] == "Queued"
    await world.jobs.force(job_id, JobPhase.SUCCEEDED)
    async with listen(world, job_id, **{"Last-Event-ID": "2"}) as response:
        events = Events(response)
        assert [(await events.next()).get("id"), (await events.next())["event"]] == ["3", "end"]
    history = (await world.ask("GET", f"/api/v1/jobs/{job_id}/events")).json()["items"]
    assert [event["phase"] for event in history] == ["Pending", "Queued", "Succeeded"]


async def test_a_stream_ends_with_its_token(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = (await world.submit())["job_id"]
    monkeypatch.setattr("muster_queue.rest.job_handlers.seconds_left", lambda caller, clock: 0.05)
    async with listen(world, job_id) as response:
        assert (await response.content.read()).endswith(b"event: end\ndata: {}\n\n")


async def test_a_head_opens_no_stream(world: RestWorld) -> None:
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}"
    answer = await world.ask("HEAD", f"{path}/events", headers={"Accept": "text/event-stream"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (await world.ask("HEAD", f"{path}/logs?follow=true")).status == 200


async def test_silence_is_not_taken_for_death(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SIGN_OF_LIFE_SECONDS", 0.01)
    async with listen(world, (await world.submit())["job_id"]) as response:
        async with asyncio.timeout(10):
            while b"still here" not in await response.content.readline():
                pass


async def test_streams_are_counted_and_bounded(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_PER_CALLER", 1)
    job_id = (await world.submit())["job_id"]
    async with listen(world, job_id) as first:
        await Events(first).next()
        async with listen(world, job_id) as second:
            assert second.status == 429
        assert "muster_api_streams 1.0" in (await world.ask("GET", "/metrics")).body.decode()
    async with asyncio.timeout(10):
        while "muster_api_streams 0.0" not in (await world.ask("GET", "/metrics")).body.decode():
            pass


async def test_a_stream_that_waits_for_its_beginning_counts(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def written_later(job_id: str, wanted: LogRequest) -> AsyncGenerator[bytes, None]:
        begun.set()
        await go.wait()
        raise StorageAway
        yield b""

    monkeypatch.setattr(streams, "MOST_PER_CALLER", 1)
    path = f"/api/v1/jobs/{(await world.submit())['job_id']}/logs"
    monkeypatch.setattr(world.jobs, "logs", written_later)
    first = asyncio.create_task(world.ask("GET", path))
    async with asyncio.timeout(10):
        await begun.wait()
    assert (await world.ask("GET", path)).status == 429
    go.set()
    assert (await first).status == 503
    assert (await world.ask("GET", path)).status == 503, "the slot of a stream that never began was not left"


async def test_logs_come_in_the_pieces_they_were_written_in(world: RestWorld) -> None:
    job_id = (await world.submit())["job_id"]
    world.jobs.written[job_id] = [b"one\n", b"two\n"]
    answer = await world.ask("GET", f"/api/v1/jobs/{job_id}/logs?follow=true&tail=10&member=1")
    assert (answer.status, answer.body) == (200, b"one\ntwo\n")
    world.jobs.failures = [StorageAway()]
    assert (await world.ask("GET", f"/api/v1/jobs/{job_id}/logs")).status == 503
    assert (await world.ask("GET", f"/api/v1/jobs/{job_id}/logs?follow=1")).status == 400
