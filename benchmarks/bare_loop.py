"""What this machine's Postgres allows: the same statements in natural batches, without HTTP, tokens and index.

In this process, with one connection for each kind of statement. What a loop without a service cannot do, no service
can: a goal that it misses is judged by how close the api comes to it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import uvloop

from intake import IDS, bulk, make_job, running_intake
from muster_api.phases import JobPhase
from muster_queue.intake.intake import Intake
from muster_queue.intake.settings import IntakeSettings
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import NOTHING, Candidate, Change, NewJob, PoolScope, Request, StoredBatch
from muster_queue.storage.settings import StorageSettings
from muster_queue.storage.submissions import Submissions

MOST = 500
TICK_SECONDS = 0.0005
HOLDER = "user/ada/bare"


def run_bulk(url: str, size: int, senders: int, seconds: float) -> float:
    """Jobs a second, from as many senders as the load has."""

    async def run() -> float:
        async with running_intake(url, 1) as (_, intake):

            async def submit(request: Request) -> None:
                await intake.submit(request)

            await bulk(submit, size, senders, 10 * size * senders)
            jobs, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < seconds:
                jobs += len(await bulk(submit, size, senders, 10 * size * senders)) * size
            return jobs / (time.perf_counter() - begun)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def run_single(url: str, rate: float, seconds: float, *, leased: bool) -> tuple[list[float], list[float]]:
    """Milliseconds from when each job was due to its commit, and to its claim, both sorted."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Loop(rate, seconds, leased=leased).run(url))


class _Loop:
    """Submits at a steady rate; with leases every job is claimed and acknowledged as soon as that can be."""

    def __init__(self, rate: float, seconds: float, *, leased: bool) -> None:
        self._rate = rate
        self._jobs = int(rate * (seconds + 2))
        self._counted_from = int(rate * 2)
        self._leased = leased
        self._due: dict[UUID, tuple[int, float]] = {}
        self._acks: list[float] = []
        self._claims: list[float] = []
        self._stored: deque[UUID] = deque()
        self._claimed: deque[UUID] = deque()
        self._acknowledged = 0
        self._news = asyncio.Event()

    async def run(self, url: str) -> tuple[list[float], list[float]]:
        settings = IntakeSettings(waiting_jobs=1_000_000)
        async with Database(StorageSettings.model_validate({"database_url": url})) as database:
            intake = Intake(Submissions(database), Jobs(database), settings, ids=IDS, on_stored=self._note)
            gc.collect()
            work = [asyncio.create_task(intake.run())]
            if self._leased:
                work += [asyncio.create_task(each) for each in (self._claim(database), self._acknowledge(database))]
            await self._submit(intake)
            while len(self._acks) < self._jobs or (self._leased and self._acknowledged < self._jobs):
                for each in work:
                    if each.done():
                        each.result()
                await asyncio.sleep(TICK_SECONDS)
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        return sorted(self._acks[self._counted_from :]), sorted(self._claims[self._counted_from :])

    async def _submit(self, intake: Intake) -> None:
        begun = time.perf_counter()
        for number in range(self._jobs):
            due = begun + number / self._rate
            if time.perf_counter() < due:
                await asyncio.sleep(max(TICK_SECONDS, due - time.perf_counter()))
            job = make_job()
            self._due[job.id] = (number, due)
            intake.begin(Request(jobs=(job,)), lambda outcome: None)

    def _note(self, jobs: Sequence[NewJob], batch: StoredBatch) -> None:
        now = time.perf_counter()
        self._acks += [1000 * (now - self._due[job.id][1]) for job in jobs]
        if self._leased:
            self._stored += [job.id for job in jobs]
            self._news.set()

    async def _claim(self, database: Database) -> None:
        attempts, scope = Attempts(database), PoolScope(namespace="team-a", queue="default")
        while True:
            await self._news.wait()
            self._news.clear()
            while found := _taken(self._stored):
                candidates = [Candidate(id=job_id, holder=HOLDER) for job_id in found]
                claimed = await attempts.claim(candidates, holder="", actor="ada", lease_seconds=30.0, scope=scope)
                now = time.perf_counter()
                self._claims += [1000 * (now - self._due[each.id][1]) for each in claimed]
                self._claimed += [each.id for each in claimed]

    async def _acknowledge(self, database: Database) -> None:
        attempts = Attempts(database)
        end = partial(Change, attempt=1, holder=HOLDER, target=JobPhase.SUCCEEDED, reason="Finished", result=NOTHING)
        while True:
            if found := _taken(self._claimed):
                outcome = await attempts.acknowledge([end(job_id=job_id) for job_id in found], "ada")
                self._acknowledged += len(outcome.moved)
            else:
                await asyncio.sleep(TICK_SECONDS)


def _taken(waiting: deque[UUID]) -> list[UUID]:
    return [waiting.popleft() for _ in range(min(MOST, len(waiting)))]
