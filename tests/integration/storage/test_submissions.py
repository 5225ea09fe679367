"""Requests are stored whole, once, and in one commit with all that follows from them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bones.storing import make_job, make_request
from muster_api.phases import JobPhase
from muster_queue.storage.database import Database
from muster_queue.storage.errors import Contended, NotFound, Unstorable
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.submissions import Submissions


async def count(database: Database, table: str) -> int:
    ((rows,),) = await database.read(f"select count(*) from muster.{table}".encode(), {})
    return int(rows)


async def test_a_job_is_found_as_it_was_submitted(submissions: Submissions, jobs: Jobs) -> None:
    spec = msgspec.Raw(b'{"b":1,  "a":[1.50,"\\u00e9"], "b":2}')
    job = make_job("resnet", spec=spec, labels={"team": "vision"}, priority=80, trace="00-1-2-01", wake_seconds=60.0)
    batch = await submissions.store([make_request(job)])
    stored = await jobs.get(job.id)
    assert batch.missing == frozenset() and batch.outbox_id is not None
    assert bytes(stored.spec) == bytes(spec)
    assert (stored.phase, stored.version, stored.priority, stored.labels) == (
        JobPhase.QUEUED,
        1,
        80,
        {"team": "vision"},
    )
    assert stored.created_at == batch.committed_at
    assert stored.wake_at is not None and (stored.wake_at - stored.created_at).total_seconds() == 60
    assert await jobs.named("team-a", "resnet") == stored


async def test_a_batch_is_one_audit_row_for_each_actor_and_one_outbox_row(
    database: Database, submissions: Submissions
) -> None:
    requests = [make_request(make_job(submitter=actor)) for actor in ("ada", "bob", "ada")]
    await submissions.store(requests)
    rows = await database.read(b"select actor, cardinality(job_ids), action from muster.audit order by actor", {})
    assert rows == [("ada", 2, "submit"), ("bob", 1, "submit")]
    assert await count(database, "outbox") == 1


async def test_the_same_batch_again_stores_nothing_twice(submissions: Submissions, jobs: Jobs) -> None:
    requests = [make_request(make_job()), make_request(make_job("given"), key="k")]
    await submissions.store(requests)
    again = await submissions.store(requests)
    ids = {job.id for request in requests for job in request.jobs}
    assert again.missing == ids and again.taken == frozenset() and again.outbox_id is None
    assert set(await jobs.find(list(ids))) == ids


async def test_a_taken_name_is_told_and_stops_nobody_else(submissions: Submissions, jobs: Jobs) -> None:
    await submissions.store([make_request(make_job("resnet"))])
    late, other = make_job("resnet"), make_job("other")
    batch = await submissions.store([make_request(late), make_request(other)])
    assert batch.missing == batch.taken == {late.id}
    assert (await jobs.get(other.id)).name == "other"


async def test_a_request_with_a_key_is_stored_whole_or_not_at_all(database: Database, submissions: Submissions) -> None:
    await submissions.store([make_request(make_job("resnet"))])
    free, taken = make_job("free"), make_job("resnet")
    batch = await submissions.store([make_request(free, taken, key="k")])
    assert batch.missing == {free.id, taken.id} and batch.taken == {taken.id}
    assert await count(database, "idempotency_keys") == 0


async def test_of_two_at_once_with_one_key_only_one_is_stored(submissions: Submissions, jobs: Jobs) -> None:
    requests = [make_request(make_job(), key="k") for _ in range(8)]
    await asyncio.gather(*(submissions.store([request]) for request in requests))
    ids = [request.jobs[0].id for request in requests]
    (stored,) = await jobs.find(ids)
    assert requests[0].key is not None
    owners = await submissions.owners([requests[0].key])
    assert owners["team-a", "k"].job_ids == (stored,)


async def test_a_name_lost_while_the_key_was_won_undoes_the_statement(
    database: Database, submissions: Submissions
) -> None:
    """Two transactions take one name at once: the loser must leave no key behind that leads nowhere."""
    first = make_job("resnet", is_named=False)
    await submissions.store([make_request(first)])
    with pytest.raises(Contended):
        await submissions.store([make_request(make_job("resnet", is_named=False), key="k")])
    assert await count(database, "idempotency_keys") == 0
    careful = await submissions.store([make_request(make_job("resnet", is_named=False), key="k")], is_careful=True)
    assert careful.taken == careful.missing


@pytest.mark.parametrize(
    "fields", [{"namespace": "a\0b"}, {"spec": msgspec.Raw(b'{"a":"\\u0000"}')}, {"priority": 101}]
)
async def test_a_value_that_the_database_does_not_take_is_refused_as_such(
    submissions: Submissions, jobs: Jobs, fields: dict[str, object]
) -> None:
    job = make_job(**fields)
    with pytest.raises(Unstorable):
        await submissions.store([make_request(job)])
    with pytest.raises(NotFound):
        await jobs.get(job.id)


async def test_keys_are_forgotten_by_age(database: Database, submissions: Submissions) -> None:
    await submissions.store([make_request(key="k")])
    assert await submissions.forget_keys(older_than_seconds=3600) == 0
    assert await submissions.forget_keys(older_than_seconds=0) == 1
