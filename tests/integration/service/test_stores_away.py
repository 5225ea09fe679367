"""What callers get while a store is away, and that nothing is half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bones.postgres import PostgresServer
from bones.redis_servers import RedisServer, any_binary
from bones.rest_world import JOB
from bones.service_world import ServiceWorld, limits, service_world, until

JOBS = "/api/v1/jobs/"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer(any_binary()) as server:
        yield server


@pytest.fixture
async def narrow(tmp_path: Path, app_url: str, redis_url: str) -> AsyncIterator[ServiceWorld]:
    chosen = limits(jobs_per_second=0.01, burst_jobs=3, pending_jobs=1000)
    async with service_world(tmp_path, app_url, redis_url, chosen) as running:
        yield running


async def answers_with(world: ServiceWorld, path: str, status: int) -> bool:
    return (await world.ask("GET", path)).status == status


async def test_without_postgres_nothing_is_taken_and_all_is_well_afterwards(
    world: ServiceWorld, postgres: PostgresServer
) -> None:
    before = await world.submit()
    postgres.stop()
    try:
        answers = await asyncio.gather(
            world.ask("POST", JOBS, json=JOB, headers={"Idempotency-Key": "k"}),
            world.ask("GET", JOBS + before["job_id"]),
            world.ask("DELETE", JOBS + before["job_id"]),
            world.ask("GET", "/api/v1/audit"),
        )
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        assert answers[0].json()["type"] == "urn:muster:problem:away"
        await until(lambda: answers_with(world, "/readyz", 503), "an api that is not ready")
        assert (await world.ask("GET", "/healthz")).status == 200
    finally:
        postgres.start()
    await until(lambda: answers_with(world, JOBS + before["job_id"], 200), "an api that answers")
    assert [job["job_id"] for job in (await world.ask("GET", JOBS)).json()["items"]] == [before["job_id"]]
    taken = await world.ask("POST", JOBS, json=JOB, headers={"Idempotency-Key": "k"})
    assert (taken.status, "Idempotent-Replayed" in taken.headers) == (201, False)


async def test_without_redis_jobs_are_taken_all_the_same(tmp_path: Path, app_url: str, own_redis: RedisServer) -> None:
    async with service_world(tmp_path, app_url, own_redis.url) as world:
        own_redis.kill()
        jobs = [await world.submit(execution="pool") for _ in range(5)]
        listed = (await world.ask("GET", JOBS)).json()["items"]
        assert len(listed) == len(jobs)


async def test_a_tenant_that_is_too_fast_has_to_wait_and_others_need_not(narrow: ServiceWorld) -> None:
    answers = [await narrow.ask("POST", JOBS, json={**JOB, "namespace": "a"}) for _ in range(5)]
    assert [answer.status for answer in answers] == [201, 201, 201, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert "namespace a may submit" in answers[-1].json()["detail"]
    assert (await narrow.ask("POST", JOBS, json={**JOB, "namespace": "b"})).status == 201
    assert len((await narrow.ask("GET", f"{JOBS}?namespace=a")).json()["items"]) == 3


async def test_a_tenant_may_have_so_many_waiting_jobs_and_no_more(tmp_path: Path, app_url: str, redis_url: str) -> None:
    async with service_world(tmp_path, app_url, redis_url, limits(pending_jobs=2)) as world:
        answers = [await world.ask("POST", JOBS, json=JOB) for _ in range(3)]
        assert [answer.status for answer in answers] == [201, 201, 429]
        assert "2 jobs of namespace default may wait" in answers[2].json()["detail"]
