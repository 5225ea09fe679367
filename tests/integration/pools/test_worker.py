"""Real worker processes on a real api, Postgres and Redis; killed, told to stop, and left alone by the api."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from bones.pool_workers import Employer, WorkerProcess
from bones.pool_world import PoolWorld, pool_job, pool_world, until_async
from bones.redis_servers import RedisServer
from muster_api.phases import JobPhase

SHORT = {"rounds": 3, "samples_per_round": 1000}
LONG = {"rounds": 2000, "samples_per_round": 10, "step_delay_ms": 50}
Start = Callable[..., WorkerProcess]


@pytest.fixture
async def world(tmp_path: Path, app_url: str, redis: RedisServer) -> AsyncIterator[PoolWorld]:
    async with pool_world(tmp_path, app_url, redis, lease_seconds=2) as running:
        yield running


@pytest.fixture
async def start(world: PoolWorld, tmp_path: Path) -> AsyncIterator[Start]:
    started: list[WorkerProcess] = []

    def make(name: str, *options: str, concurrency: int = 2) -> WorkerProcess:
        started.append(WorkerProcess(Employer.of(world), tmp_path, name, *options, concurrency=concurrency))
        return started[-1]

    yield make
    for worker in started:
        worker.kill()


async def ended(world: PoolWorld, *job_ids: UUID, phase: JobPhase = JobPhase.SUCCEEDED) -> None:
    async def all_ended() -> bool:
        await world.expire()
        found = await world.jobs.find(list(job_ids))
        return all(job.phase is phase for job in found.values())

    await until_async(all_ended, 60)


async def test_simulations_end_with_the_same_result_everywhere(world: PoolWorld, start: Start) -> None:
    first, second = start("one"), start("two")
    jobs = await world.submit(*[pool_job(config={**SHORT, "seed": 7}) for _ in range(12)])
    await ended(world, *jobs)
    results = {bytes((await world.attempts(job_id))[0].result) for job_id in jobs}
    assert len(results) == 1
    assert msgspec.json.decode(results.pop())["samples"] == 3000
    assert [await first.stop(), await second.stop()] == [0, 0]
    assert len(first.events("ended")) + len(second.events("ended")) == 12


async def test_a_killed_workers_job_ends_once_by_another(world: PoolWorld, start: Start) -> None:
    victim = start("victim", concurrency=1)
    (job_id,) = await world.submit(pool_job(config={**LONG, "rounds": 60}))
    await victim.has_said("leased")
    victim.kill()
    start("heir", concurrency=1)
    await ended(world, job_id)
    attempts = await world.attempts(job_id)
    assert [(each.attempt, each.outcome) for each in attempts] == [(2, JobPhase.SUCCEEDED), (1, JobPhase.QUEUED)]
    assert attempts[0].holder.endswith("/heir")
    assert (await world.job(job_id)).retries == 0


async def test_told_to_stop_it_finishes_what_it_can_and_takes_nothing_new(world: PoolWorld, start: Start) -> None:
    worker = start("worker", "--grace-seconds", "30", concurrency=1)
    first, second = await world.submit(pool_job(config={**LONG, "rounds": 20}), pool_job(config=SHORT))
    await worker.has_said("leased")
    assert await worker.stop() == 0
    assert (await world.job(first)).phase is JobPhase.SUCCEEDED
    assert (await world.job(second)).phase is JobPhase.QUEUED


async def test_what_it_cannot_finish_in_time_is_given_back(world: PoolWorld, start: Start) -> None:
    worker = start("worker", "--grace-seconds", "0.2", concurrency=1)
    (job_id,) = await world.submit(pool_job(config=LONG))
    await worker.has_said("leased")
    assert await worker.stop() == 0
    job, (attempt,) = await world.job(job_id), await world.attempts(job_id)
    assert (job.phase, job.retries, attempt.failure) == (JobPhase.QUEUED, 0, "preempted")


async def test_progress_is_told_and_a_cancelled_job_is_given_up(world: PoolWorld, start: Start) -> None:
    worker = start("worker", concurrency=1)
    (job_id,) = await world.submit(pool_job(config=LONG))

    async def progresses() -> bool:
        attempts = await world.attempts(job_id)
        return bool(attempts and attempts[0].progress)

    await until_async(progresses)
    await world.cancel(job_id)
    await worker.has_said("lost")
    (following,) = await world.submit(pool_job(config=SHORT))
    await ended(world, following)
    assert (await world.job(job_id)).phase is JobPhase.CANCELLED


async def test_jobs_that_fail_are_told_why(world: PoolWorld, start: Start) -> None:
    start("worker")
    wrong, slow = await world.submit(
        pool_job(config={"rounds": "many", "samples": 3}),
        pool_job(config=LONG, timeoutSeconds=1, retryPolicy={"maxRetries": 0}),
    )
    await ended(world, wrong, phase=JobPhase.FAILED)
    await ended(world, slow, phase=JobPhase.DEAD_LETTER)
    (told,) = await world.attempts(wrong)
    assert told.failure == "validation" and "rounds:" in str(told.message) and "samples" in str(told.message)
    assert [each.failure for each in await world.attempts(slow)] == ["timeout"]


async def test_it_waits_for_an_api_that_is_away(world: PoolWorld, start: Start) -> None:
    world.rest.reviews.rights.clear()
    worker = start("worker")
    await worker.has_said("api_away")
    world.rest.reviews.allow("oidc:ann", "update")
    (job_id,) = await world.submit(pool_job(config=SHORT))
    await ended(world, job_id)


async def test_a_token_that_was_replaced_is_read_again(world: PoolWorld, start: Start, tmp_path: Path) -> None:
    worker = start("worker")
    token = tmp_path / "worker.token"
    good = token.read_text()
    token.write_text("expired")
    worker.kill()
    again = start("again")
    (tmp_path / "again.token").write_text("expired")
    await again.has_said("api_away")
    (tmp_path / "again.token").write_text(good)
    (job_id,) = await world.submit(pool_job(config=SHORT))
    await ended(world, job_id)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--namespace", "team-a"], "--url"),
        (["--url", "http://api.example.com", "--namespace", "team-a"], "in clear"),
        (["--url", "http://localhost:1", "--namespace", "Team A"], "--namespace"),
        (["--url", "http://localhost:1", "--namespace", "a", "--concurrency", "0"], "--concurrency"),
        (["--url", "http://localhost:1", "--namespace", "a", "--job-type", "training"], "--job-type"),
    ],
)
def test_options_that_are_not_right_are_refused(tmp_path: Path, options: list[str], named: str) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    command = [sys.executable, "-m", "muster_worker", "pool", "--token-file", str(token), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, named in done.stderr) == (2, True), done.stderr


async def test_a_worker_never_waits_for_torch() -> None:
    code = "import sys, muster_worker.pool.command, muster_worker.pool.simulating; sys.exit('torch' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
