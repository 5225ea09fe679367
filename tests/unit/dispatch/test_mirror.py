"""What the mirror does with changes that it cannot write down at once: it loses none, and none stops another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from muster_api.jobs import AIJob, AIJobSpec, AIJobStatus, JobType
from muster_api.names import JOB_ID_ANNOTATION
from muster_api.objects import ObjectMeta
from muster_api.phases import JobPhase
from muster_queue.dispatch import mirror as mirroring
from muster_queue.dispatch.feed import Feed, Key
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.mirror import Mirror
from muster_queue.dispatch.recording import Pair
from muster_queue.storage.errors import Unstorable
from muster_queue.storage.records import Reflection

Rows = dict[UUID, Reflection]
Take = Callable[[Sequence[Pair]], set[Key]]


def id_of(number: int) -> UUID:
    return UUID(f"01980000-0000-7000-8000-{number:012}")


def make(number: int, version: int = 1) -> AIJob:
    annotations = {JOB_ID_ANNOTATION: str(id_of(number))}
    name = f"job-{number}"
    return AIJob(
        metadata=ObjectMeta(
            namespace="team-a", name=name, uid=f"uid-{number}", resource_version=str(version), annotations=annotations
        ),
        spec=AIJobSpec(job_type=JobType.TRAINING),
        status=AIJobStatus(phase=JobPhase.QUEUED, reason="Waits", message="for room", observed_generation=1),
    )


def row_of(number: int) -> Reflection:
    return Reflection(
        id=id_of(number),
        namespace="team-a",
        name=f"job-{number}",
        phase=JobPhase.QUEUED,
        version=1,
        object_uid=f"uid-{number}",
    )


class Rest:
    """All that a mirror has beside it: rows in memory, and a recorder that takes steps as the test says."""

    def __init__(self, take: Take, *rows: Reflection) -> None:
        self.rows: Rows = {row.id: row for row in rows}
        self.told: list[Pair] = []
        self._take = take

    async def find(self, job_ids: Sequence[UUID]) -> Rows:
        return {job_id: self.rows[job_id] for job_id in job_ids if job_id in self.rows}

    async def store(self, _: Sequence[AIJob]) -> list[AIJob]:
        return []

    async def take(self, pairs: Sequence[Pair]) -> set[Key]:
        refused = self._take(pairs)
        for pair in pairs:
            if pair.key not in refused:
                self.told.append(pair)
                self.rows[pair.row.id] = _after(pair)
        return refused


def _after(pair: Pair) -> Reflection:
    job = pair.seen.job
    assert job is not None
    if pair.seen.is_gone:
        return replace(pair.row, phase=JobPhase.CANCELLED, is_gone=True)
    return replace(pair.row, reason=job.status.reason, message=job.status.message)


def make_mirror(rest: Rest) -> tuple[Mirror, Feed]:
    feed = Feed(lambda _: 50)
    feed._store = {}
    feed.follow()
    return Mirror(feed, rest, rest, rest, rest, DispatchMetrics(CollectorRegistry())), feed


def see(feed: Feed, job: AIJob) -> None:
    feed._store[job.metadata.namespace, job.metadata.name] = job
    feed.see(job)


def lose(feed: Feed, job: AIJob) -> None:
    del feed._store[job.metadata.namespace, job.metadata.name]
    feed.lose(job)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "BATCH_SECONDS", 0.0)


async def until_quiet(mirror: Mirror, feed: Feed) -> None:
    while feed.pending():
        await mirror.follow()


async def test_what_the_database_does_not_take_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "FIRST_REST", 3600.0)

    def take(pairs: Sequence[Pair]) -> set[Key]:
        if any(pair.row.id == id_of(2) for pair in pairs):
            raise Unstorable("no such character")
        return set()

    rest = Rest(take, *map(row_of, range(4)))
    mirror, feed = make_mirror(rest)
    for number in range(4):
        see(feed, make(number))
    async with asyncio.timeout(10):
        await until_quiet(mirror, feed)
    assert {row.id for row in rest.rows.values() if row.reason == "Waits"} == {id_of(number) for number in (0, 1, 3)}
    mirror.stop()


async def test_a_deletion_is_not_forgotten_while_its_object_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the object was refused, and another of the row comes between the look and the end of it."""
    monkeypatch.setattr(mirroring, "FIRST_REST", 3600.0)
    looks: list[bool] = []

    def take(pairs: Sequence[Pair]) -> set[Key]:
        looks.extend(pair.seen.is_gone for pair in pairs)
        return {pair.key for pair in pairs} if len(looks) == 1 else set()

    rest = Rest(take, row_of(1))
    mirror, feed = make_mirror(rest)
    see(feed, make(1))
    async with asyncio.timeout(10):
        await until_quiet(mirror, feed)
        assert looks == [False] and not rest.told
        lose(feed, make(1, version=2))
        rest.rows[id_of(1)] = row_of(1)
        await mirror.follow()
        rest.rows[id_of(1)] = row_of(1)
        await until_quiet(mirror, feed)
    assert looks == [False, True, True]
    assert rest.rows[id_of(1)].is_gone
    assert not mirror._patience
    mirror.stop()


async def test_a_deletion_that_is_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "FIRST_REST", 0.001)
    looks: list[bool] = []

    def take(pairs: Sequence[Pair]) -> set[Key]:
        looks.extend(pair.seen.is_gone for pair in pairs)
        return {pair.key for pair in pairs} if len(looks) < 3 else set()

    rest = Rest(take, row_of(1))
    mirror, feed = make_mirror(rest)
    see(feed, make(1))
    lose(feed, make(1))
    async with asyncio.timeout(10):
        while not rest.rows[id_of(1)].is_gone:
            await mirror.follow()
    assert looks == [True, True, True]
    mirror.stop()
