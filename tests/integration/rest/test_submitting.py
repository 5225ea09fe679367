"""POST of one job: the examples of the specification, everything wrong at once, and requests that are sent again."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from bones.rest_world import ANN, JOB, RestWorld
from muster_queue.rest.service_errors import OutcomeUnknown, Overloaded, StorageAway

INFERENCE = {
    "job_type": "inference",
    "priority": 80,
    "image": "pytorch-inference:latest",
    "config": {"model": "resnet50", "batch_size": 32},
}
TRAINING = {
    "job_type": "training",
    "priority": 100,
    "image": "pytorch-ddp:latest",
    "gang": {"enabled": True, "min_members": 4, "topology": "ring"},
}


async def post(world: RestWorld, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await world.ask("POST", "/api/v1/jobs/", data=io.BytesIO(data), headers=sent)


def fields(answer: Any) -> dict[str, str]:
    return {error["field"]: error["detail"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("example", [INFERENCE, TRAINING], ids=["inference", "a gang"])
async def test_the_examples_of_the_specification_are_taken(world: RestWorld, example: dict[str, Any]) -> None:
    answer = await post(world, example)
    told = answer.json()
    assert answer.status == 201
    assert (told["namespace"], told["phase"], told["priority"]) == ("default", "Pending", example["priority"])
    assert told["name"] == f"job-{told['job_id'].replace('-', '')[:20]}"
    assert answer.headers["Location"] == f"/api/v1/jobs/{told['job_id']}"
    read = await world.ask("GET", answer.headers["Location"])
    assert read.headers["ETag"] == answer.headers["ETag"] == '"1"'
    spec = read.json()["spec"]
    assert {name: spec[name] for name in example if name != "gang"} == {
        name: value for name, value in example.items() if name != "gang"
    }
    assert spec["gang"].items() >= example.get("gang", {}).items()
    assert world.jobs.jobs[told["job_id"]].submitted_by == ANN


async def test_all_that_is_wrong_is_told_at_once_by_field(world: RestWorld) -> None:
    wrong = {
        "job_type": "x",
        "priority": 101,
        "imagee": "i",
        "gang": {"enabled": True, "members": 3},
        "env": [{"name": "A"}, {"name": "A"}],
        "resources": {"requests": {"cpu": "much"}, "limits": {"nvidia.com/gpu": -1}},
        "labels": {"team": "a b"},
    }
    answer = await post(world, wrong)
    told = fields(answer)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:muster:problem:invalid"
    assert set(told) == {
        "job_type",
        "priority",
        "imagee",
        "image",
        "gang.min_members",
        "gang.members",
        "env[1].name",
        "resources.requests[cpu]",
        "resources.limits[nvidia.com/gpu]",
        "labels[team]",
    }
    assert told["job_type"] == "'x' is not accepted; write inference or simulation or training"
    assert told["priority"] == "101 is not accepted; write a whole number from 0 to 100"
    assert told["imagee"].startswith("there is no such field; there are job_type, priority, image,")
    assert told["gang.members"] == "3 must come with min_members and not be less than it"


async def test_fields_that_do_not_go_together_are_another_kind_of_wrong(world: RestWorld) -> None:
    answer = await post(world, {"job_type": "training"})
    assert answer.status == 422
    assert fields(answer) == {"image": "required with execution: pod; write the name of a container image"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"\xff\xfe", 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": 1e999}}', 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": "\\u0000"}}', 400),
        (b'{"job_type": "training", "image": "i", "config": {"\\u0000": 1}}', 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": "\\ud800"}}', 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": "\\\\u0000"}}', 201),
        (b'{"job_type": "training", "image": "i", "config": ' + b'{"a":' * 60 + b"1" + b"}" * 61, 201),
        (b'{"job_type": "training", "image": "i", "config": ' + b'{"a":' * 64 + b"1" + b"}" * 65, 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": "' + b"{" * 1000 + b'"}}', 201),
        (b"[" * 500_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"job_type": "training", "image": "i", "config": {"a": [' + b'"]",{},' * 5000 + b"1]}}", 201),
        (b'{"config": [' + b"[]," * 300_000 + b"[]]}", 400),
        (b'{"config": {"a": "' + b"x" * (1 << 20) + b'"}}', 413),
        (b'{"job_type": "training", "image": "i", "config": {"a": "' + b"x" * 70_000 + b'"}}', 422),
    ],
    ids=[
        "nothing",
        "half of it",
        "a list",
        "null",
        "text",
        "no UTF-8",
        "a number beyond all numbers",
        "NUL in a value",
        "NUL in a key",
        "half a surrogate",
        "only looks like NUL",
        "deep",
        "too deep",
        "brackets in text",
        "a cliff of lists",
        "a cliff of objects",
        "wide and flat",
        "very wide",
        "too large",
        "too large a config",
    ],
)
async def test_nonsense_is_answered_and_harms_nobody(world: RestWorld, body: bytes, status: int) -> None:
    answer = await post(world, body)
    assert answer.status == status, answer.body
    assert len(world.jobs.jobs) == (status == 201)
    await world.submit(name="alive")


async def test_a_body_without_a_length_is_bounded_as_well(world: RestWorld) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b" " * 65536

    sent = {"Content-Type": "application/json"}
    assert (await world.ask("POST", "/api/v1/jobs/", data=endless(), headers=sent)).status == 413


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_other_media_types_are_not_guessed_at(world: RestWorld, media: str) -> None:
    answer = await world.ask("POST", "/api/v1/jobs/", data=b"{}", headers={"Content-Type": media})
    assert (answer.status, answer.headers["Accept"]) == (415, "application/json")


async def test_a_name_is_taken_once(world: RestWorld) -> None:
    await world.submit(name="one")
    answer = await post(world, {**JOB, "name": "one"})
    assert (answer.status, answer.json()["type"]) == (409, "urn:muster:problem:name-taken")


async def test_the_same_key_and_body_is_done_once(world: RestWorld) -> None:
    first = await post(world, INFERENCE, Idempotency_Key="abc")
    # The same in other words: blanks and order mean nothing.
    again = await post(world, dict(reversed(INFERENCE.items())), Idempotency_Key='"abc"')
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(world.jobs.jobs) == 1


async def test_the_same_key_with_another_body_is_a_mistake(world: RestWorld) -> None:
    await post(world, INFERENCE, Idempotency_Key="abc")
    answer = await post(world, TRAINING, Idempotency_Key="abc")
    assert (answer.status, answer.json()["type"]) == (422, "urn:muster:problem:key-reused")


async def test_two_at_once_with_one_key_are_one_job(world: RestWorld) -> None:
    answers = await asyncio.gather(*(post(world, INFERENCE, Idempotency_Key="abc") for _ in range(10)))
    assert len({answer.json()["job_id"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256])
async def test_a_strange_key_is_refused(world: RestWorld, key: str) -> None:
    assert (await post(world, INFERENCE, Idempotency_Key=key)).status == 400


async def test_without_the_store_nothing_is_half_done(world: RestWorld) -> None:
    world.jobs.failures = [StorageAway()]
    answer = await post(world, INFERENCE)
    assert (answer.status, answer.headers["Retry-After"], answer.json()["detail"]) == (
        503,
        "2",
        "nothing was done; try again in a moment",
    )


async def test_too_much_is_answered_before_work_is_done(world: RestWorld) -> None:
    world.jobs.failures = [Overloaded(7.2, "the tenant has 10000 pending jobs, as many as it may have")]
    answer = await post(world, INFERENCE)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "8")
    assert answer.json()["detail"].startswith("the tenant has")


async def test_an_unknown_outcome_names_the_job_to_ask_for(world: RestWorld) -> None:
    world.jobs.failures = [OutcomeUnknown()]
    answer = await post(world, INFERENCE)
    told = answer.json()
    assert (answer.status, told["type"]) == (503, "urn:muster:problem:unknown-outcome")
    assert (await world.ask("GET", f"/api/v1/jobs/{told['job_id']}")).status == 404


async def test_a_commit_whose_answer_was_lost_is_found_by_its_id(
    world: RestWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = world.jobs.submit

    async def lose_the_answer(*arguments: Any) -> Any:
        await taken(*arguments)
        raise OutcomeUnknown

    monkeypatch.setattr(world.jobs, "submit", lose_the_answer)
    assert (await post(world, INFERENCE)).status == 201
