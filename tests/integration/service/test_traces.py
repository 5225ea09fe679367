"""A submission's span, by each way that a job can come in, and the context that is stored with the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bones.rest_world import JOB
from bones.service_world import ServiceWorld, service_world
from bones.span_receiver import span_receiver
from muster_kube.tracing import tracing
from muster_queue.service.records import parse_id
from muster_queue.storage.jobs import Jobs

JOBS = "/api/v1/jobs/"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


async def stored_trace(world: ServiceWorld, job: dict[str, Any]) -> str:
    trace = (await Jobs(world.stores.database).get(parse_id(job["job_id"]))).trace
    assert trace is not None
    return trace


async def test_each_job_is_stored_with_the_context_of_its_submission(
    tmp_path: Path, app_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with span_receiver(monkeypatch) as receiver:
        async with tracing("muster-api") as tracer, service_world(tmp_path, app_url, redis_url, tracer=tracer) as world:
            followed = (await world.ask("POST", JOBS, json=JOB, headers=HEADER)).json()
            plain = await world.submit()
            replayed = {"Idempotency-Key": "k"} | HEADER
            for _ in range(2):
                keyed = (await world.ask("POST", JOBS, json=JOB, headers=replayed)).json()
            bulk = (await world.ask("POST", f"{JOBS}bulk", json=[JOB, JOB], headers=HEADER)).json()["items"]
            refused = await world.ask("POST", JOBS, json={**JOB, "name": keyed["name"]}, headers=HEADER)
            traces = {job["job_id"]: await stored_trace(world, job) for job in (followed, plain, keyed, *bulk)}
    assert refused.status == 409
    by_job = {span.attributes["muster.job_id"]: span for span in receiver.named("submit job")}
    first, root = by_job[followed["job_id"]], by_job[plain["job_id"]]
    assert (first.service, first.trace, first.parent, first.error) == ("muster-api", TRACE, PARENT, None)
    assert (root.parent, root.trace == TRACE) == ("", False)
    for span, job in ((first, followed), (root, plain), (by_job[keyed["job_id"]], keyed)):
        assert traces[job["job_id"]].startswith(f"{span.context}-")
    (many,) = receiver.named("submit jobs")
    assert (many.trace, many.attributes["muster.jobs"]) == (TRACE, 2)
    assert {traces[job["job_id"]][:-3] for job in bulk} == {many.context}
    assert [span.error for span in receiver.named("submit job") if span.error] == ["NameTaken"]
