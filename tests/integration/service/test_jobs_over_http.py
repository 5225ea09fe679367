"""The life of jobs as REST users see it, on the real stores."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import msgspec
import pytest

from bones.rest_world import JOB
from bones.service_world import ServiceWorld, until
from muster_api.phases import JobPhase
from muster_queue.index.keys import QueueKey
from muster_queue.rest import submitting
from muster_queue.service.records import parse_id
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.audit import Sealer
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.records import Actor, Beat, Candidate, Change

JOBS = "/api/v1/jobs/"


async def changed(world: ServiceWorld, method: str, path: str, **more: Any) -> dict[str, Any]:
    answer = await world.ask(method, path, **more)
    assert answer.status == 200, answer.body
    job: dict[str, Any] = answer.json()
    return job


async def end(world: ServiceWorld, job_id: str, target: str) -> None:
    """As whoever runs the job would: claimed, then ended."""
    attempts = Attempts(world.stores.database)
    key = parse_id(job_id)
    (claimed,) = await attempts.claim([Candidate(id=key)], holder="a/b/1", actor="pool", lease_seconds=60)
    change = Change(job_id=key, target=target, attempt=claimed.attempt, reason="Ended", retries=4)
    await Mover(world.stores.database).move_one(change, Actor(name="pool", action="fail"))


async def test_what_was_submitted_is_read_at_once(world: ServiceWorld) -> None:
    job = await world.submit(labels={"team": "vision"}, namespace="a", priority=7)
    read = (await world.ask("GET", JOBS + job["job_id"])).json()
    spec, attempts = read.pop("spec"), read.pop("attempts")
    assert read == job
    assert (spec["config"], spec["priority"], attempts) == (JOB["config"], 7, [])
    listed = (await world.ask("GET", f"{JOBS}?namespace=a&label=team=vision&phase=Queued")).json()
    assert [each["job_id"] for each in listed["items"]] == [job["job_id"]]


async def test_an_answer_names_the_job_as_it_was_stored(world: ServiceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names hold the first digits of ids: where two jobs have them in common, the later one gets another id."""
    numbers = itertools.count()
    monkeypatch.setattr(submitting, "new_job_id", lambda: f"0192f0c1-2345-7abc-8def-{next(numbers):012x}")
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    answered = [await world.submit(), await world.submit()]
    answered.append((await world.ask("POST", JOBS, json=JOB, headers=trace)).json())
    answered += (await world.ask("POST", f"{JOBS}bulk", json=[JOB] * 3)).json()["items"]
    assert len({job["job_id"] for job in answered}) == len(answered)
    for job in answered:
        stored = (await world.ask("GET", JOBS + job["job_id"])).json()
        assert (stored.get("job_id"), stored.get("name")) == (job["job_id"], job["name"])


async def test_the_trace_of_a_request_is_stored_with_its_jobs(world: ServiceWorld) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one = await world.ask("POST", JOBS, json=JOB, headers={"traceparent": trace})
    many = await world.ask("POST", f"{JOBS}bulk", json=[JOB], headers={"traceparent": trace})
    stored = Jobs(world.stores.database)
    for job_id in (one.json()["job_id"], many.json()["items"][0]["job_id"]):
        assert (await stored.get(parse_id(job_id))).trace == trace


async def test_a_repeated_request_gets_its_first_answer(world: ServiceWorld) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await world.ask("POST", JOBS, json=JOB, headers=headers)
    await changed(world, "POST", f"{JOBS}{first.json()['job_id']}/hold")
    again = await world.ask("POST", JOBS, json=JOB, headers=headers)
    assert (again.status, again.json(), again.headers["Idempotent-Replayed"]) == (201, first.json(), "true")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await world.ask("POST", JOBS, json={**JOB, "priority": 3}, headers=headers)
    assert (other.status, other.json()["type"]) == (422, "urn:muster:problem:key-reused")


async def test_a_repeated_request_is_not_told_that_its_own_name_is_taken(world: ServiceWorld) -> None:
    named, headers = {**JOB, "name": "nightly"}, {"Idempotency-Key": "k"}
    first, again = [await world.ask("POST", JOBS, json=named, headers=headers) for _ in range(2)]
    assert (first.status, again.status, again.json()) == (201, 201, first.json())
    bulks = [await world.ask("POST", f"{JOBS}bulk", json=[{**named, "name": "other"}], headers=headers) for _ in "12"]
    (one,), (other,) = [bulk.json()["items"] for bulk in bulks]
    assert one["job_id"] == other["job_id"] != first.json()["job_id"]


async def test_the_same_request_many_times_at_once_is_one_job(world: ServiceWorld) -> None:
    answers = await asyncio.gather(
        *(world.ask("POST", JOBS, json=JOB, headers={"Idempotency-Key": "k"}) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert len((await world.ask("GET", JOBS)).json()["items"]) == 1


async def test_keys_of_two_users_are_two_keys(world: ServiceWorld) -> None:
    world.reviews.allow("oidc:bob", "create")
    headers = {"Idempotency-Key": "k"}
    anns = await world.ask("POST", JOBS, json=JOB, headers=headers)
    bobs = await world.ask("POST", JOBS, json={**JOB, "priority": 3}, headers=headers, token=world.token("bob"))
    assert (anns.status, bobs.status) == (201, 201)


async def test_a_name_is_taken_once(world: ServiceWorld) -> None:
    await world.submit(name="one")
    answer = await world.ask("POST", JOBS, json={**JOB, "name": "one"})
    assert (answer.status, answer.json()["type"]) == (409, "urn:muster:problem:name-taken")


async def test_a_bulk_takes_what_it_can(world: ServiceWorld) -> None:
    await world.submit(name="taken")
    bulk = [JOB] * 600 + [{**JOB, "name": "taken"}]
    answer = (await world.ask("POST", f"{JOBS}bulk", json=bulk)).json()
    assert (answer["accepted"], answer["refused"], answer["items"][600]["status"]) == (600, 1, 409)
    again = await world.ask("POST", f"{JOBS}bulk", json=bulk[:3], headers={"Idempotency-Key": "b"})
    replayed = await world.ask("POST", f"{JOBS}bulk", json=bulk[:3], headers={"Idempotency-Key": "b"})
    ids = [[item["job_id"] for item in each.json()["items"]] for each in (again, replayed)]
    assert ids[0] == ids[1]
    assert all(item["replayed"] for item in replayed.json()["items"])


async def test_pages_hold_each_job_once(world: ServiceWorld) -> None:
    made = [(await world.submit())["job_id"] for _ in range(7)]
    seen: list[str] = []
    page = ""
    while True:
        answer = (await world.ask("GET", f"{JOBS}?limit=3{page}")).json()
        seen += [job["job_id"] for job in answer["items"]]
        if answer["next"] is None:
            break
        page = f"&page={answer['next']}"
    assert seen == made[::-1]


async def test_times_choose_jobs_exactly(world: ServiceWorld) -> None:
    first, second = await world.submit(), await world.submit()
    moment = first["created_at"].replace("+", "%2B")
    later = (await world.ask("GET", f"{JOBS}?created_after={moment}")).json()["items"]
    assert [job["job_id"] for job in later] == [second["job_id"]]
    moment = second["created_at"].replace("+", "%2B")
    earlier = (await world.ask("GET", f"{JOBS}?created_before={moment}")).json()["items"]
    assert [job["job_id"] for job in earlier] == [first["job_id"]]


async def test_a_job_is_held_released_and_cancelled(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    assert (await changed(world, "POST", f"{path}/hold"))["phase"] == "Held"
    assert (await world.ask("POST", f"{path}/hold")).status == 409
    assert (await changed(world, "POST", f"{path}/release"))["phase"] == "Queued"
    assert (await changed(world, "PATCH", path, json={"priority": 90}))["priority"] == 90
    same = await world.ask("PATCH", path, json={"priority": 90})
    assert same.headers["ETag"] == '"4"'
    cancelled = await changed(world, "DELETE", path)
    assert (cancelled["phase"], cancelled["message"]) == ("Cancelled", "cancelled by oidc:ann")
    refused = await world.ask("DELETE", path)
    assert refused.status == 409
    assert "the job is Cancelled" in refused.json()["detail"]
    events = (await world.ask("GET", f"{path}/events")).json()["items"]
    assert [(each["type"], each["phase"]) for each in events] == [
        ("Submitted", "Queued"),
        ("Moved", "Held"),
        ("Moved", "Queued"),
        ("Changed", "Queued"),
        ("Moved", "Cancelled"),
    ]


async def test_a_job_submitted_suspended_is_held(world: ServiceWorld) -> None:
    job = await world.submit(suspend=True)
    assert (job["phase"], job["queued_at"]) == ("Held", None)
    assert (await changed(world, "POST", f"{JOBS}{job['job_id']}/release"))["queued_at"] is not None


async def test_a_change_meets_the_version_that_was_seen(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    answer = await world.ask("GET", path)
    await changed(world, "POST", f"{path}/hold", headers={"If-Match": answer.headers["ETag"]})
    stale = await world.ask("DELETE", path, headers={"If-Match": answer.headers["ETag"]})
    assert (stale.status, stale.json()["type"]) == (412, "urn:muster:problem:stale")
    assert (await world.ask("GET", path, headers={"If-None-Match": '"2"'})).status == 304


async def test_changes_at_once_are_made_one_after_the_other(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    answers = await asyncio.gather(*(world.ask("PATCH", path, json={"priority": each}) for each in range(4)))
    assert {answer.status for answer in answers} == {200}
    assert (await world.ask("GET", path)).json()["version"] == 5


async def test_a_dead_letter_is_requeued_with_all_its_retries_or_dropped(world: ServiceWorld) -> None:
    job_id = (await world.submit())["job_id"]
    await end(world, job_id, "DeadLetter")
    listed = (await world.ask("GET", "/api/v1/dead-letters")).json()["items"]
    assert [(job["job_id"], job["retries"]) for job in listed] == [(job_id, 4)]
    assert (await world.ask("DELETE", JOBS + job_id)).status == 409
    again = await changed(world, "POST", f"/api/v1/dead-letters/{job_id}/requeue")
    assert (again["phase"], again["retries"], again["finished_at"]) == ("Queued", 0, None)
    await end(world, job_id, "DeadLetter")
    assert (await changed(world, "DELETE", f"/api/v1/dead-letters/{job_id}"))["reason"] == "Dropped"
    assert (await world.ask("GET", "/api/v1/dead-letters")).json()["items"] == []


async def test_a_failed_job_is_begun_anew_and_one_that_succeeded_is_not(world: ServiceWorld) -> None:
    failed, good = (await world.submit())["job_id"], (await world.submit())["job_id"]
    await end(world, failed, "Failed")
    await end(world, good, "Succeeded")
    assert (await changed(world, "POST", f"{JOBS}{failed}/retry"))["phase"] == "Queued"
    assert (await world.ask("POST", f"{JOBS}{good}/retry")).status == 409


async def test_what_became_of_each_attempt_is_shown(world: ServiceWorld) -> None:
    path = JOBS + (job_id := (await world.submit())["job_id"])
    await end(world, job_id, "DeadLetter")
    await changed(world, "POST", f"{path}/retry")
    attempts = Attempts(world.stores.database)
    (claimed,) = await attempts.claim(
        [Candidate(id=parse_id(job_id))], holder="user/ann/w", actor="ann", lease_seconds=60
    )
    await attempts.heartbeat([Beat(id=claimed.id, attempt=2, progress=0.3, holder="user/ann/w")], lease_seconds=60)
    running = await world.ask("GET", path, headers={"If-None-Match": "*"})
    assert [each["progress"] for each in running.json()["attempts"]] == [0.3, None]
    result = msgspec.Raw(b'{"pi": 3.14}')
    done = Change(job_id=claimed.id, target=JobPhase.SUCCEEDED, attempt=2, holder="user/ann/w", result=result)
    await attempts.acknowledge([done], "ann")
    latest, first = (await changed(world, "GET", path))["attempts"]
    assert (latest["attempt"], latest["holder"], latest["outcome"]) == (2, "user/ann/w", "Succeeded")
    assert (latest["result"], latest["ended_at"] >= latest["started_at"]) == ({"pi": 3.14}, True)
    assert (first["attempt"], first["outcome"], first["result"]) == (1, "DeadLetter", None)
    assert (await world.ask("GET", path, headers={"If-None-Match": "*"})).status == 304


async def test_events_come_as_they_happen(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    headers = {"Authorization": f"Bearer {world.token()}", "Accept": "text/event-stream", "Last-Event-ID": "1"}
    async with world.client.get(f"{world.url}{path}/events", headers=headers) as stream:
        async with asyncio.timeout(20):
            await changed(world, "POST", f"{path}/hold")
            seen = [await next_event(stream)]
            await changed(world, "DELETE", path)
            seen += [await next_event(stream)]
            assert [(each["number"], each["phase"]) for each in seen] == [(2, "Held"), (3, "Cancelled")]
            assert b"event: end" in await stream.content.read()


async def next_event(stream: Any) -> dict[str, Any]:
    async for line in stream.content:
        if line.startswith(b"data: "):
            event: dict[str, Any] = json.loads(line[6:])
            return event
    raise AssertionError("the stream has ended")


async def test_an_event_that_never_was_ends_no_stream_too_late(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    await changed(world, "DELETE", path)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "999999999"}
    async with asyncio.timeout(20):
        assert b"event: end" in (await world.ask("GET", f"{path}/events", headers=headers)).body


async def test_why_says_what_is_stored_and_that_it_may_be_old(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit())["job_id"]
    waiting = (await world.ask("GET", f"{path}/why")).json()
    assert (waiting["reason"], waiting["stale"]) == ("PendingEvaluation", True)
    await changed(world, "POST", f"{path}/hold")
    held = (await world.ask("GET", f"{path}/why")).json()
    assert (held["reason"], held["stale"]) == ("Held", False)


async def test_queues_are_counted_with_what_waits_in_them(world: ServiceWorld) -> None:
    first = await world.submit(namespace="a", queue="q")
    held = await world.submit(namespace="a", queue="q")
    await changed(world, "POST", f"{JOBS}{held['job_id']}/hold")

    async def are_counted() -> bool:
        queues = (await world.ask("GET", "/api/v1/queues?namespace=a")).json()["items"]
        told = [(queue["name"], queue["pending"], queue["oldest_pending"]) for queue in queues]
        return told == [("q", 2, first["created_at"])]

    await until(are_counted, "a count of both jobs")


async def test_jobs_of_pools_are_in_the_index_and_their_outbox_is_settled(world: ServiceWorld) -> None:
    await world.submit(namespace="a", execution="pool")
    await world.submit(namespace="a")

    async def is_in_the_index() -> bool:
        return (await world.stores.index.measure(QueueKey("a", "default"))).waiting == 1

    async def is_settled() -> bool:
        return not await Outbox(world.stores.database).pending(0.0)

    await until(is_in_the_index, "one job in the index")
    await until(is_settled, "an empty outbox")
    assert await is_in_the_index()


async def test_the_audit_tells_who_did_what_and_holds(world: ServiceWorld) -> None:
    path = JOBS + (await world.submit(namespace="a"))["job_id"]
    await changed(world, "PATCH", path, json={"priority": 90})
    await changed(world, "DELETE", path)
    await world.submit(namespace="b")
    told = (await world.ask("GET", "/api/v1/audit?namespace=a")).json()["items"]
    assert [(row["actor"], row["action"], row["to_phase"]) for row in told] == [
        ("oidc:ann", "submit", "Queued"),
        ("oidc:ann", "priority", "Queued"),
        ("oidc:ann", "cancel", "Cancelled"),
    ]
    assert told[1]["details"] == {"priority": 90}
    first = (await world.ask("GET", "/api/v1/audit?limit=3")).json()
    rest = (await world.ask("GET", f"/api/v1/audit?limit=3&page={first['next']}")).json()
    assert [row["namespace"] for row in (*first["items"], *rest["items"])] == ["a", "a", "a", "b"]
    of_job = (await world.ask("GET", f"/api/v1/audit?job_id={told[0]['job_ids'][0]}&limit=2")).json()
    assert [row["action"] for row in of_job["items"]] == ["submit", "priority"]
    assert of_job["next"] is not None
    assert (await world.ask("GET", "/api/v1/audit?actor=nobody")).json()["items"] == []
    late = (await world.ask("GET", f"/api/v1/audit?after={told[2]['time']}")).json()["items"]
    assert [row["namespace"] for row in late] == ["b"]
    before = (await world.ask("GET", "/api/v1/audit/verify")).json()
    assert (before["intact"], before["checked_rows"], before["unsealed_rows"]) == (True, 0, 4)
    await Sealer(world.stores.database).seal_all()
    after = (await world.ask("GET", "/api/v1/audit/verify")).json()
    assert (after["intact"], after["checked_rows"], after["unsealed_rows"]) == (True, 4, 0)


@pytest.mark.parametrize("path", ["logs", "logs?follow=true"])
async def test_a_job_that_never_ran_has_no_log(world: ServiceWorld, path: str) -> None:
    job = JOBS + (await world.submit())["job_id"]
    await changed(world, "DELETE", job)
    answer = await world.ask("GET", f"{job}/{path}")
    assert (answer.status, "no such attempt" in answer.json()["detail"]) == (409, True)


async def test_metrics_tell_how_full_the_queues_are(world: ServiceWorld) -> None:
    await world.submit(namespace="a", queue="q")

    async def are_told() -> bool:
        await world.ask("GET", "/api/v1/queues")
        told = (await world.ask("GET", "/metrics")).body.decode()
        is_counted = 'muster_queue_jobs{namespace="a",queue="q",state="queued"} 1.0' in told
        return is_counted and 'muster_queue_oldest_pending_age_seconds{namespace="a",queue="q"}' in told

    await until(are_told, "the queue in the metrics")
