"""Intake without a database: what is bounded, what is in doubt, and what is answered when it stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from bones.clock import ManualClock
from bones.storing import make_job, make_request
from muster_queue.intake.errors import Overloaded
from muster_queue.intake.intake import Intake
from muster_queue.intake.lane import Lane, Waiting
from muster_queue.intake.settings import IntakeSettings
from muster_queue.storage.errors import Contended, KeyReused, NameTaken, OutcomeUnknown, StorageAway
from muster_queue.storage.records import Job, KeyOwner, Request, RequestKey, StoredBatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class ScriptedStore:
    """Stores in memory; first raises what it was told to raise, and may be held."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.batches: list[list[Request]] = []
        self.began = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.careful: list[bool] = []

    async def store(self, requests: Sequence[Request], *, is_careful: bool = False) -> StoredBatch:
        self.batches.append(list(requests))
        self.careful.append(is_careful)
        self.began.set()
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        return StoredBatch(committed_at=NOW, outbox_id=1, missing=frozenset(), taken=frozenset())

    async def owners(self, keys: Sequence[RequestKey]) -> dict[tuple[str, str], KeyOwner]:
        return {}

    async def find(self, job_ids: Sequence[UUID]) -> dict[UUID, Job]:
        return {}


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@contextlib.asynccontextmanager
async def running(store: ScriptedStore, clock: ManualClock | None = None, **settings: int) -> AsyncIterator[Intake]:
    intake = Intake(store, store, IntakeSettings(**settings), clock=clock)
    task = asyncio.create_task(intake.run())
    try:
        yield intake
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def begun(store: ScriptedStore, batches: int) -> None:
    while len(store.batches) < batches:
        store.began.clear()
        await store.began.wait()


async def test_what_came_during_a_commit_is_the_next_one(store: ScriptedStore) -> None:
    store.open.clear()
    async with running(store) as intake:
        tasks = [asyncio.create_task(intake.submit(make_request()))]
        await begun(store, 1)
        tasks += [asyncio.create_task(intake.submit(make_request())) for _ in range(7)]
        await asyncio.sleep(0)
        store.open.set()
        await asyncio.gather(*tasks)
    assert [len(batch) for batch in store.batches] == [1, 7]


async def test_more_than_the_bound_is_refused_before_anything_is_done(store: ScriptedStore) -> None:
    store.open.clear()
    async with running(store, waiting_jobs=3) as intake:
        tasks = [asyncio.create_task(intake.submit(make_request())) for _ in range(3)]
        await begun(store, 1)
        with pytest.raises(Overloaded) as overloaded:
            await intake.submit(make_request())
        assert overloaded.value.retry_after >= 1
        store.open.set()
        await asyncio.gather(*tasks)
        await intake.submit(make_request())


async def test_bulk_keeps_no_single_submission_waiting(store: ScriptedStore) -> None:
    store.open.clear()
    async with running(store, bulk_from=20) as intake:
        tasks = [asyncio.create_task(intake.submit(make_request(*(make_job() for _ in range(20)))))]
        await begun(store, 1)
        tasks.append(asyncio.create_task(intake.submit(make_request())))
        await begun(store, 2)
        store.open.set()
        await asyncio.gather(*tasks)


async def test_a_commit_in_doubt_is_asked_for_with_the_same_ids(store: ScriptedStore) -> None:
    store.errors = [OutcomeUnknown("lost"), StorageAway("restarting"), OutcomeUnknown("lost again")]
    async with running(store) as intake:
        request = make_request()
        receipt = await intake.submit(request)
    assert receipt.job_ids == (request.jobs[0].id,)
    assert store.batches == [[request]] * 4


async def test_a_doubt_that_stays_is_told(store: ScriptedStore) -> None:
    clock = ManualClock()
    store.errors = [OutcomeUnknown("lost"), *(StorageAway("down") for _ in range(99))]
    async with running(store, clock) as intake:
        task = asyncio.create_task(intake.submit(make_request()))
        await begun(store, 2)
        clock.advance(60)
        with pytest.raises(OutcomeUnknown):
            await task


async def test_storage_that_is_away_is_told_at_once_and_never_as_a_doubt(store: ScriptedStore) -> None:
    store.errors = [StorageAway("down")]
    async with running(store) as intake:
        with pytest.raises(StorageAway):
            await intake.submit(make_request())
        await intake.submit(make_request())


async def test_what_was_contended_is_tried_with_care(store: ScriptedStore) -> None:
    store.errors = [Contended("busy")]
    async with running(store) as intake:
        await intake.submit(make_request())
    assert store.careful == [False, True]


async def test_an_error_that_nobody_foresaw_stops_only_its_batch(store: ScriptedStore) -> None:
    store.errors = [RuntimeError("a bug")]
    async with running(store) as intake:
        with pytest.raises(StorageAway):
            await intake.submit(make_request())
        await intake.submit(make_request())


async def test_a_sender_that_hangs_up_harms_nobody(store: ScriptedStore) -> None:
    store.open.clear()
    async with running(store) as intake:
        tasks = [asyncio.create_task(intake.submit(make_request(key="k"))) for _ in range(3)]
        await begun(store, 1)
        tasks[0].cancel()
        await asyncio.sleep(0)
        store.open.set()
        receipts = await asyncio.gather(*tasks[1:])
    assert len(store.batches) == 1
    assert all(receipt.is_replay for receipt in receipts)


async def test_another_request_with_the_key_of_one_that_fails_is_tried_by_itself(store: ScriptedStore) -> None:
    store.open.clear()
    store.errors = [NameTaken("team-a", ["resnet"])]
    async with running(store) as intake:
        first = asyncio.create_task(intake.submit(make_request(key="k", body="one")))
        await begun(store, 1)
        other = asyncio.create_task(intake.submit(make_request(key="k", body="two")))
        await asyncio.sleep(0)
        store.open.set()
        with pytest.raises(NameTaken):
            await first
        assert not (await other).is_replay
        store.open.clear()
        third = asyncio.create_task(intake.submit(make_request(key="k", body="one")))
        await begun(store, 3)
        fourth = asyncio.create_task(intake.submit(make_request(key="k", body="two")))
        await asyncio.sleep(0)
        store.open.set()
        await third
        with pytest.raises(KeyReused):
            await fourth


async def test_when_it_stops_nobody_is_left_without_an_answer(store: ScriptedStore) -> None:
    store.open.clear()
    async with running(store, batch_jobs=1) as intake:
        under_way, waiting = (asyncio.create_task(intake.submit(make_request())) for _ in range(2))
        await begun(store, 1)
    with pytest.raises(OutcomeUnknown):
        await under_way
    with pytest.raises(StorageAway):
        await waiting
    with pytest.raises(StorageAway):
        await intake.submit(make_request())


async def test_a_lane_says_how_long_what_waits_will_take() -> None:
    lane = Lane(most_jobs=1000, batch_jobs=100)
    lane.put(Waiting(make_request(*(make_job() for _ in range(1000)))))
    assert lane.retry_after() == 10
    for _ in range(50):
        lane.done([], 0.0)
    fast = [Waiting(make_request(*(make_job() for _ in range(500))))]
    lane.jobs += 50 * 500
    for _ in range(50):
        lane.done(fast, 0.05)
    assert lane.retry_after() == 1
