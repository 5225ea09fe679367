"""POST of many jobs: each by itself, as an array or as lines, however they are cut on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bones.rest_world import JOB, RestWorld
from muster_queue.rest import bulk, bulk_reading
from muster_queue.rest.problems import ProblemError
from muster_queue.rest.service_errors import NameTaken, OutcomeUnknown, Overloaded, StorageAway

JSON, LINES = "application/json", "application/x-ndjson"


def written(jobs: list[Any], media: str) -> bytes:
    return json.dumps(jobs).encode() if media == JSON else b"\n".join(json.dumps(job).encode() for job in jobs)


async def post(world: RestWorld, body: Any, media: str = JSON, **headers: str) -> Any:
    data = written(body, media) if isinstance(body, list) else body
    sent = {"Content-Type": media, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await world.ask("POST", "/api/v1/jobs/bulk", data=data, headers=sent)


@pytest.mark.parametrize("media", [JSON, LINES])
async def test_all_jobs_of_a_bulk_are_taken_in_their_order(world: RestWorld, media: str) -> None:
    answer = await post(world, [{**JOB, "name": f"j{number}"} for number in range(1234)], media)
    told = answer.json()
    assert (answer.status, told["accepted"], told["refused"], told["stopped_at"]) == (201, 1234, 0, None)
    assert [item["name"] for item in told["items"]] == [f"j{number}" for number in range(1234)]
    assert [item["index"] for item in told["items"]] == list(range(1234))
    assert world.jobs.batches == [500, 500, 234]


@pytest.mark.parametrize("media", [JSON, LINES])
async def test_one_poisoned_job_stops_no_other(world: RestWorld, media: str) -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    bad: list[Any] = [{**JOB, "priority": 101}, 7, {**JOB, "config": {"a": deep}}, {**JOB, "image": ""}, None]
    answer = await post(world, [JOB, *bad, JOB], media)
    told = answer.json()
    assert (answer.status, told["accepted"], told["refused"]) == (207, 2, 5)
    assert [item["status"] for item in told["items"]] == [201, 400, 400, 400, 422, 400, 201]
    assert told["items"][1]["problem"]["errors"][0]["field"] == "priority"


async def test_a_line_that_is_no_json_stops_no_other(world: RestWorld) -> None:
    answer = await post(world, b'{"job_type\n\n\r\n' + json.dumps(JOB).encode() + b"\r\n", LINES)
    assert [item["status"] for item in answer.json()["items"]] == [400, 201]


@pytest.mark.parametrize(
    ("body", "media"), [(b"[]", JSON), (b"", JSON), (b"  ", JSON), (b"{}", JSON), (b"", LINES), (b"[{}", JSON)]
)
async def test_a_bulk_of_nothing_is_a_mistake(world: RestWorld, body: bytes, media: str) -> None:
    assert (await post(world, body, media)).status == 400


async def test_a_bulk_of_which_nothing_is_right_is_refused(world: RestWorld) -> None:
    answer = await post(world, [{}, {}])
    assert (answer.status, answer.json()["refused"]) == (422, 2)


async def test_a_bulk_that_is_sent_again_with_its_key_is_done_once(world: RestWorld) -> None:
    jobs = [JOB] * 700
    first = await post(world, jobs, Idempotency_Key="k")
    again = await post(world, jobs, LINES, Idempotency_Key="k")
    ids = [[item["job_id"] for item in answer.json()["items"]] for answer in (first, again)]
    assert ids[0] == ids[1]
    assert all(item["replayed"] for item in again.json()["items"])
    assert len(world.jobs.jobs) == 700


async def test_a_bulk_that_broke_off_goes_on_with_its_key(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, calls = world.jobs.submit_many, []

    async def break_off(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise StorageAway
        return await submit(*arguments)

    monkeypatch.setattr(world.jobs, "submit_many", break_off)
    first = (await post(world, [JOB] * 700, Idempotency_Key="k")).json()
    assert (first["accepted"], first["stopped_at"], first["items"][-1]["status"]) == (500, 500, 503)
    again = await post(world, [JOB] * 700, Idempotency_Key="k")
    assert (again.status, again.json()["accepted"], len(world.jobs.jobs)) == (201, 700, 700)


async def test_an_overload_at_the_beginning_is_the_whole_answer(world: RestWorld) -> None:
    world.jobs.failures = [Overloaded(3)]
    answer = await post(world, [JOB])
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_outcomes_are_told_job_by_job(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = world.jobs.submit_many

    async def outcomes(jobs: Any, actor: str, key: None) -> Any:
        return [*await submit(jobs[:1], actor, None), NameTaken(), OutcomeUnknown()]

    monkeypatch.setattr(world.jobs, "submit_many", outcomes)
    items = (await post(world, [JOB] * 3)).json()["items"]
    assert [item["status"] for item in items] == [201, 409, 503]
    assert items[2]["problem"]["job_id"]


async def test_the_bytes_and_the_jobs_of_a_bulk_are_bounded(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST_JOBS", 10)
    assert (await post(world, [JOB] * 11)).status == 413
    monkeypatch.setattr(bulk, "LARGEST_BULK", 500)
    assert (await post(world, [JOB] * 10)).status == 413
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 0)
    assert (await post(world, [JOB])).status == 429


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text('{}[],:"\\ aé', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('{}[],"\\a', max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(items=st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=30), data=st.data())
async def test_an_array_is_cut_at_its_own_commas_only(items: list[Any], data: st.DataObject) -> None:
    text = json.dumps(
        items, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    ).encode()
    size = data.draw(st.integers(1, max(1, len(text))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_reading, "_PIECE", data.draw(st.integers(1, 200)))
        patch.setattr(bulk_reading, "_TRIES", data.draw(st.integers(0, 3)))
        found = [json.loads(bytes(raw)) async for piece in bulk_reading.elements(chunked(text, size)) for raw in piece]
    assert found == items


async def test_one_job_as_large_as_a_bulk_is_not_collected() -> None:
    many = b'[{"a": [' + b"{}," * (1 << 19) + b"{}]}]"
    with pytest.raises(ProblemError, match="one job is larger"):
        [piece async for piece in bulk_reading.elements(chunked(many, 65536))]
    with pytest.raises(ProblemError, match="one job is larger"):
        [piece async for piece in bulk_reading.lines(chunked(b"x" * (2 << 20), 65536))]


async def chunked(text: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


async def test_a_bulk_is_for_so_many_namespaces_at_most(world: RestWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST_NAMESPACES", 2)
    places = ["a", "b", "c", "a", "d"]
    answer = await post(world, [{**JOB, "namespace": place} for place in places])
    assert [item["status"] for item in answer.json()["items"]] == [201, 201, 422, 201, 422]
    assert {
        review["spec"]["resourceAttributes"]["namespace"] for review in world.reviews.asked("SubjectAccessReview")
    } == {
        "a",
        "b",
    }
