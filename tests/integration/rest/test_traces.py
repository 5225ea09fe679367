"""The trace context of a request goes to its jobs, and a wrong one never gets in their way."""

from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict

from bones.rest_world import JOB, RestWorld

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WRONG = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"


async def post(world: RestWorld, *traces: str) -> int:
    headers = CIMultiDict([("Content-Type", "application/json"), *(("traceparent", trace) for trace in traces)])
    headers["Authorization"] = f"Bearer {world.token()}"
    url = f"{world.url}/api/v1/jobs/"
    async with world.client.post(url, data=json.dumps(JOB), headers=headers) as response:
        return response.status


@pytest.mark.parametrize(
    ("sent", "kept"),
    [((TRACE,), TRACE), ((f"  {TRACE} ",), TRACE), ((WRONG,), None), ((TRACE, TRACE), None), ((), None)],
    ids=["valid", "spaced", "invalid", "twice", "none"],
)
async def test_a_job_gets_the_trace_of_its_request(world: RestWorld, sent: tuple[str, ...], kept: str | None) -> None:
    assert await post(world, *sent) == 201
    assert world.jobs.traces == [kept]


async def test_it_does_also_from_a_caller_who_may_take_the_short_way(world: RestWorld) -> None:
    await world.submit()
    await world.submit()
    assert world.jobs.begun == 1
    answer = await world.ask("POST", "/api/v1/jobs/", json=JOB, headers={"traceparent": TRACE})
    assert answer.status == 201
    assert world.jobs.traces == [None, None, TRACE]


@pytest.mark.parametrize(("sent", "kept"), [(TRACE, TRACE), (WRONG, None)])
async def test_all_jobs_of_a_bulk_belong_to_its_trace(world: RestWorld, sent: str, kept: str | None) -> None:
    answer = await world.ask("POST", "/api/v1/jobs/bulk/", json=[JOB, JOB], headers={"traceparent": sent})
    assert answer.status == 201, answer.body
    assert world.jobs.traces == [kept, kept]


async def test_a_request_that_is_sent_again_in_another_trace_is_the_same(world: RestWorld) -> None:
    for trace in (TRACE, TRACE.replace("b7", "c7")):
        headers = {"traceparent": trace, "Idempotency-Key": "once"}
        answer = await world.ask("POST", "/api/v1/jobs/", json=JOB, headers=headers)
        assert answer.status == 201
    assert len(world.jobs.jobs) == 1
