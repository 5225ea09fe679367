"""Warm workers over real HTTP in front of a real Postgres and a real Redis."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from bones.pool_world import POOL, PoolWorld, pool_job, pool_world, until, until_async
from bones.redis_servers import RedisServer
from muster_api.phases import JobPhase
from muster_queue.index.keys import QueueKey
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change


async def test_a_job_goes_from_its_lease_to_its_result(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job(config={"steps": 5}, timeoutSeconds=60))
    (lease,) = await world.lease()
    assert (lease["job_id"], lease["attempt"], lease["job_type"]) == (str(job_id), 1, "simulation")
    assert (lease["config"], lease["timeout_seconds"]) == ({"steps": 5}, 60)
    assert (await world.job(job_id)).wake_at is not None
    assert await world.beat(lease, progress=0.5)
    assert await world.succeed(lease, result={"pi": 3.14}) == "accepted"
    job, (attempt,) = await world.job(job_id), await world.attempts(job_id)
    assert (job.phase, job.attempt, job.wake_at) == (JobPhase.SUCCEEDED, 1, None)
    assert msgspec.json.decode(attempt.result) == {"pi": 3.14}
    assert (attempt.progress, attempt.holder) == (0.5, "user/oidc:ann/w")


async def test_progress_that_is_next_to_nothing_keeps_no_beat_from_being_stored(world: PoolWorld) -> None:
    await world.submit(pool_job(), pool_job())
    one, two = await world.lease(most=2)
    assert await asyncio.gather(world.beat(one, progress=1e-160), world.beat(two, progress=0.25)) == [True, True]
    assert [(await world.attempts(each["job_id"]))[0].progress for each in (one, two)] == [0, 0.25]


async def test_the_best_jobs_come_first(world: PoolWorld) -> None:
    jobs = [pool_job(priority) for priority in (10, 90, 50, 90)]
    await world.submit(*jobs)
    leases = await world.lease(most=3)
    assert [lease["job_id"] for lease in leases] == [str(jobs[place].id) for place in (1, 3, 2)]


async def test_the_order_is_the_same_while_the_index_is_away(world: PoolWorld, redis: RedisServer) -> None:
    jobs = [pool_job(priority) for priority in (10, 90, 50, 90)]
    await world.submit(*jobs)
    redis.kill()
    leases = await world.lease(most=3, wait=5)
    assert [lease["job_id"] for lease in leases] == [str(jobs[place].id) for place in (1, 3, 2)]
    assert [await world.succeed(lease) for lease in leases] == ["accepted"] * 3


async def test_fifty_workers_never_get_the_same_job(world: PoolWorld) -> None:
    jobs = await world.submit(*[pool_job() for _ in range(400)])
    seen: list[str] = []

    async def work(number: int) -> None:
        while leases := await world.lease(f"w{number}", most=3):
            seen.extend(lease["job_id"] for lease in leases)
            verdicts = [await world.succeed(lease, f"w{number}") for lease in leases]
            assert verdicts == ["accepted"] * len(leases)

    await asyncio.gather(*(work(number) for number in range(50)))
    assert sorted(seen) == sorted(map(str, jobs))
    ((attempts,),) = await world.database.read(
        b"select count(*) from muster.dispatches where outcome = 'Succeeded'", {}
    )
    assert attempts == 400


async def test_two_processes_with_different_views_of_the_index_share_exactly(
    world: PoolWorld, tmp_path: Path, app_url: str, redis: RedisServer
) -> None:
    """One takes from Redis, one finds the same jobs in Postgres: the claim decides."""
    jobs = await world.submit(*[pool_job() for _ in range(200)])
    (tmp_path / "other").mkdir()
    async with pool_world(tmp_path / "other", app_url, redis) as other:

        async def drain(one: PoolWorld, **chosen: list[str]) -> list[str]:
            found: list[str] = []
            while leases := await one.lease(most=7, **chosen):
                found += [lease["job_id"] for lease in leases]
            return found

        first, second = await asyncio.gather(drain(world), drain(other, job_types=["simulation"]))
    assert sorted(first + second) == sorted(map(str, jobs))


async def test_a_worker_that_waits_is_woken_at_once(world: PoolWorld) -> None:
    waiting = asyncio.create_task(world.lease(wait=20))
    await until(lambda: world.pools.waiting_workers == 1)
    await asyncio.sleep(0.5)  # until it looks seldom
    begun = time.monotonic()
    (job_id,) = await world.submit(pool_job())
    (lease,) = await waiting
    assert lease["job_id"] == str(job_id) and time.monotonic() - begun < 5


async def test_a_job_of_another_process_is_found_without_a_word(world: PoolWorld) -> None:
    waiting = asyncio.create_task(world.lease(wait=20))
    await until(lambda: world.pools.waiting_workers == 1)
    (by_index,) = await world.submit(pool_job(), awaken=False)
    assert [lease["job_id"] for lease in await waiting] == [str(by_index)]
    waiting = asyncio.create_task(world.lease(wait=20))
    (by_database,) = await world.submit(pool_job(), tell=False, awaken=False)
    assert [lease["job_id"] for lease in await waiting] == [str(by_database)]


async def test_nothing_comes_to_a_worker_that_waits_in_vain(world: PoolWorld) -> None:
    assert await world.lease(wait=0.3) == []
    assert await world.lease(wait=0) == []


async def test_only_the_types_that_a_worker_can_do(world: PoolWorld) -> None:
    simulation, inference = await world.submit(pool_job(), pool_job(job_type="inference"))
    (lease,) = await world.lease(most=5, job_types=["inference"])
    assert lease["job_id"] == str(inference)
    (lease,) = await world.lease(most=5, job_types=["inference", "simulation"])
    assert lease["job_id"] == str(simulation)


async def test_jobs_with_pods_are_never_leased(world: PoolWorld) -> None:
    """Not even where the index has been told so by mistake."""
    job = msgspec.structs.replace(pool_job(), execution="pod")
    await world.submit(job)
    assert await world.lease(wait=0.5) == []
    assert (await world.job(job.id)).phase is JobPhase.QUEUED


async def test_a_worker_that_has_gone_gets_nothing_any_more(world: PoolWorld) -> None:
    leaving = asyncio.create_task(world.lease("leaving", wait=20))
    await until(lambda: world.pools.waiting_workers == 1)
    leaving.cancel()
    await until(lambda: world.pools.waiting_workers == 0)
    staying = asyncio.create_task(world.lease("staying", wait=20))
    await until(lambda: world.pools.waiting_workers == 1)
    (job_id,) = await world.submit(pool_job())
    ((lease,),) = await asyncio.gather(staying)
    assert (lease["job_id"], lease["attempt"]) == (str(job_id), 1)


async def test_a_socket_that_closes_at_any_moment_loses_nothing(
    tmp_path: Path, app_url: str, redis: RedisServer
) -> None:
    """An answer that was on its way comes back with its lease; all else goes to the next at once."""
    async with pool_world(tmp_path, app_url, redis, lease_seconds=1) as world:
        for number in range(12):
            leaving = asyncio.create_task(world.lease("leaving", wait=20))
            await until(lambda: world.pools.waiting_workers == 1)
            (job_id,) = await world.submit(pool_job())
            await asyncio.sleep(number / 1000)
            leaving.cancel()
            found: list[str] = []

            async def next_one(found: list[str] = found) -> bool:
                await world.expire()
                for lease in await world.lease("staying", wait=0.5):
                    found.append(lease["job_id"])
                    assert await world.succeed(lease, "staying") == "accepted"
                return bool(found)

            await until_async(next_one)
            assert found == [str(job_id)]


async def test_a_silent_worker_loses_its_job_to_the_next(tmp_path: Path, app_url: str, redis: RedisServer) -> None:
    async with pool_world(tmp_path, app_url, redis, lease_seconds=1) as world:
        (job_id,) = await world.submit(pool_job())
        (first,) = await world.lease("silent")
        await until_async(world.expire)
        (second,) = await world.lease("awake", wait=20)
        assert (second["job_id"], second["attempt"]) == (str(job_id), 2)
        assert not await world.beat(first, "silent")
        assert await world.succeed(first, "silent") == "stale"
        assert await world.fail(first, "silent") == "stale"
        assert await world.succeed(second, "awake") == "accepted"
        assert [each.outcome for each in await world.attempts(job_id)] == [JobPhase.SUCCEEDED, JobPhase.QUEUED]


async def test_a_beating_worker_keeps_its_job(tmp_path: Path, app_url: str, redis: RedisServer) -> None:
    async with pool_world(tmp_path, app_url, redis, lease_seconds=1) as world:
        await world.submit(pool_job())
        (lease,) = await world.lease()
        for _ in range(8):
            await asyncio.sleep(0.2)
            assert await world.beat(lease)
            assert await world.expire() == 0


async def test_nobody_ends_or_keeps_the_job_of_another(world: PoolWorld) -> None:
    await world.submit(pool_job())
    (lease,) = await world.lease("mine")
    assert await world.succeed(lease, "other") == "stale"
    body = {"job_id": lease["job_id"], "attempt": lease["attempt"]}
    answer = await world.ask("acknowledge", user="bob", worker="mine", successes=[body])
    assert answer["attempts"][0]["verdict"] == "stale"
    assert not await world.beat(lease, "other")
    assert await world.beat(lease, "mine")


async def test_an_acknowledgement_that_comes_twice_is_accepted_twice(world: PoolWorld) -> None:
    await world.submit(pool_job(), pool_job())
    first, second = await world.lease(most=2)
    assert [await world.succeed(first) for _ in range(2)] == ["accepted"] * 2
    assert [await world.fail(second, exit_code=3, message="boom") for _ in range(2)] == ["accepted"] * 2
    assert await world.succeed(second) == "stale"


async def test_a_cancelled_job_is_lost_to_its_worker(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job())
    (lease,) = await world.lease()
    await world.cancel(job_id)
    assert not await world.beat(lease)
    assert await world.succeed(lease) == "stale"
    assert (await world.job(job_id)).phase is JobPhase.CANCELLED


async def test_failures_are_retried_and_end_as_a_dead_letter(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job(retryPolicy={"maxRetries": 2, "backoffSeconds": 0}))
    for attempt in (1, 2, 3):
        (lease,) = await world.lease(wait=10)
        assert lease["attempt"] == attempt
        assert await world.fail(lease, exit_code=1, message="no luck") == "accepted"
    job = await world.job(job_id)
    assert (job.phase, job.retries, job.reason) == (JobPhase.DEAD_LETTER, 2, "RetriesExhausted")
    assert [each.failure for each in await world.attempts(job_id)] == ["exitCode"] * 3


async def test_what_no_retry_can_help_fails_at_once(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job())
    (lease,) = await world.lease()
    assert await world.fail(lease, failure="validation", message="steps: is no number") == "accepted"
    assert (await world.job(job_id)).phase is JobPhase.FAILED


async def test_what_is_given_back_costs_no_retry(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job())
    (lease,) = await world.lease()
    assert await world.fail(lease, failure="preempted", message="the worker stops") == "accepted"
    (again,) = await world.lease("other", wait=10)
    assert (again["job_id"], again["attempt"], (await world.job(job_id)).retries) == (str(job_id), 2, 0)


async def test_a_result_that_cannot_be_kept_stops_nobody_else(world: PoolWorld) -> None:
    await world.submit(*[pool_job() for _ in range(4)])
    leases = await world.lease(most=4)
    results = ["x" * 70_000, "with\x00nul", [[[[]]]] * 3, {"good": True}]
    successes = [
        {"job_id": lease["job_id"], "attempt": 1, "result": result}
        for lease, result in zip(leases, results, strict=True)
    ]
    answer = await world.ask("acknowledge", worker="w", successes=successes)
    assert [each["verdict"] for each in answer["attempts"]] == ["refused", "refused", "accepted", "accepted"]
    assert "at most 65536" in answer["attempts"][0]["detail"]
    assert await world.fail(leases[0], failure="validation") == "accepted"


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("lease", {"worker": "w", "most": 1000}, "most"),
        ("lease", {"worker": "w", "wait_seconds": 31}, "wait_seconds"),
        ("lease", {"worker": "w\n"}, "worker"),
        ("lease", {"worker": "w", "moist": 1}, "moist"),
        ("heartbeat", {"worker": "w", "attempts": [{"job_id": "x", "attempt": 1}]}, "attempts[0].job_id"),
        ("acknowledge", {"worker": "w", "failures": [{"attempt": 1, "failure": "exitCode"}]}, "failures[0].job_id"),
    ],
)
async def test_a_wrong_field_is_named(world: PoolWorld, what: str, body: object, field: str) -> None:
    answer = await world.rest.ask("POST", f"{POOL}/{what}", json=body)
    assert (answer.status, answer.json()["errors"][0]["field"]) == (400, field)


async def test_the_right_is_asked_for_in_the_namespace_of_the_path(world: PoolWorld) -> None:
    world.rest.reviews.rights.clear()
    world.rest.reviews.allow("oidc:ann", "update", namespace="team-b")
    answer = await world.rest.ask("POST", f"{POOL}/lease", json={"worker": "w"})
    assert (answer.status, "aijobs.aiplatform.example.com/lease in namespace team-a" in answer.json()["detail"]) == (
        403,
        True,
    )
    answer = await world.rest.ask("POST", "/api/v1/pools/team-b/default/lease", json={"worker": "w"})
    assert answer.status == 200


async def test_the_index_is_emptied_while_workers_work(world: PoolWorld, redis: RedisServer) -> None:
    jobs = await world.submit(*[pool_job() for _ in range(200)])
    seen: list[str] = []

    async def work(number: int) -> None:
        while len(seen) < len(jobs):
            for lease in await world.lease(f"w{number}", most=2, wait=1):
                seen.append(lease["job_id"])
                assert await world.succeed(lease, f"w{number}") == "accepted"

    async def flush() -> None:
        while len(seen) < len(jobs):
            redis.ask("FLUSHALL")
            await asyncio.sleep(0.05)

    await asyncio.gather(flush(), *(work(number) for number in range(10)))
    assert sorted(seen) == sorted(map(str, jobs))


async def test_what_was_taken_and_never_claimed_is_offered_again(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job())
    taken = await world.index.take(QueueKey("team-a", "default"), 1, 0.2)
    assert taken.entries
    (lease,) = await world.lease(wait=20)
    assert lease["job_id"] == str(job_id)


async def test_a_job_that_is_released_while_the_index_offers_it_is_not_lost(world: PoolWorld) -> None:
    (job_id,) = await world.submit(pool_job())
    mover, actor = Mover(world.database), Actor(name="ann", action="hold")
    await mover.move_one(Change(job_id=job_id, target=JobPhase.HELD), actor)
    assert await world.lease(wait=0.2) == []
    await mover.move_one(Change(job_id=job_id, target=JobPhase.QUEUED), actor)
    (lease,) = await world.lease(wait=20)
    assert lease["job_id"] == str(job_id)


async def test_no_namespace_keeps_the_workers_of_others_from_waiting(
    tmp_path: Path, app_url: str, redis: RedisServer
) -> None:
    async with pool_world(tmp_path, app_url, redis, most_waiting=3, most_waiting_of_namespace=2) as world:
        token = world.rest.token("ann")

        async def wait_in(namespace: str, seconds: float) -> int:
            body = {"worker": "w", "wait_seconds": seconds}
            path = f"/api/v1/pools/{namespace}/default/lease"
            return (await world.rest.ask("POST", path, token=token, json=body)).status

        waiting = [asyncio.create_task(wait_in("team-a", 30.0)) for _ in range(2)]
        await until(lambda: world.pools.waiting_workers == 2)
        assert (await wait_in("team-a", 0.0), await wait_in("team-b", 0.0)) == (429, 200)
        world.pools.send_away()
        assert await asyncio.gather(*waiting) == [200, 200]
