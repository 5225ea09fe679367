"""Submissions on a real server: each is answered after its commit, once, and for itself."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from bones.storing import Told, make_job, make_request
from muster_queue.intake.intake import Intake
from muster_queue.intake.receipts import Receipt
from muster_queue.storage.errors import KeyReused, NameTaken, Unstorable
from muster_queue.storage.jobs import Jobs

TERMINATE_WRITERS = (
    b"select pg_terminate_backend(pid) from pg_stat_activity "
    b"where application_name = 'muster' and state = 'active' and datname = current_database()"
)


async def test_what_comes_at_once_shares_commits(intake: Intake, jobs: Jobs, told: Told) -> None:
    requests = [make_request() for _ in range(300)]
    receipts = await asyncio.gather(*map(intake.submit, requests))
    ids = [request.jobs[0].id for request in requests]
    assert [receipt.job_ids for receipt in receipts] == [(job_id,) for job_id in ids]
    assert len(await jobs.find(ids)) == 300
    assert len(told.commits) < 10
    assert sorted(job.id for commit in told.commits for job in commit) == ids
    assert intake.waiting_jobs == 0


async def test_two_equal_keys_at_once_are_one_job(intake: Intake, jobs: Jobs) -> None:
    requests = [make_request(key="k", body="same") for _ in range(5)]
    receipts = await asyncio.gather(*map(intake.submit, requests))
    assert len({receipt.job_ids for receipt in receipts}) == 1
    assert [receipt.is_replay for receipt in receipts] == [False, True, True, True, True]
    assert len(await jobs.find([request.jobs[0].id for request in requests])) == 1


async def test_a_key_that_comes_again_later_gets_the_first_answer(intake: Intake) -> None:
    first = await intake.submit(make_request(key="k", body="same"))
    again = await intake.submit(make_request(key="k", body="same"))
    assert again.is_replay and again.job_ids == first.job_ids
    with pytest.raises(KeyReused):
        await intake.submit(make_request(key="k", body="other"))


async def test_a_key_that_comes_again_with_a_name_of_its_own_gets_the_first_answer(intake: Intake) -> None:
    first = await intake.submit(make_request(make_job("resnet"), make_job(), key="k", body="same"))
    again = await intake.submit(make_request(make_job("resnet"), make_job(), key="k", body="same"))
    assert again.is_replay and again.job_ids == first.job_ids
    with pytest.raises(KeyReused):
        await intake.submit(make_request(make_job("resnet"), key="k", body="other"))
    with pytest.raises(NameTaken):
        await intake.submit(make_request(make_job("resnet"), key="another", body="same"))


async def test_a_key_with_another_body_at_once_is_refused(intake: Intake) -> None:
    requests = [make_request(key="k", body="one"), make_request(key="k", body="two")]
    results = await asyncio.gather(*map(intake.submit, requests), return_exceptions=True)
    assert isinstance(results[1], KeyReused)


async def test_a_taken_name_is_told_to_whoever_has_chosen_it(intake: Intake) -> None:
    requests = [make_request(make_job("resnet")) for _ in range(3)] + [make_request()]
    results = await asyncio.gather(*map(intake.submit, requests), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Receipt", "NameTaken", "NameTaken", "Receipt"]


async def test_a_refused_key_can_be_used_for_another_name(intake: Intake) -> None:
    await intake.submit(make_request(make_job("resnet")))
    with pytest.raises(NameTaken):
        await intake.submit(make_request(make_job("resnet"), key="k", body="one"))
    assert not (await intake.submit(make_request(make_job("other"), key="k", body="two"))).is_replay


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_made_up_name_that_is_taken_is_made_up_again(intake: Intake, jobs: Jobs, key: str | None) -> None:
    await intake.submit(make_request(make_job("resnet")))
    unlucky = make_job("resnet", is_named=False)
    receipt = await intake.submit(make_request(unlucky, make_job(), key=key))
    assert receipt.jobs[0].id != unlucky.id
    assert set(await jobs.find(receipt.job_ids)) == set(receipt.job_ids)
    assert len(await jobs.find([unlucky.id, *receipt.job_ids])) == 2


async def test_a_poisoned_request_stops_none_of_those_beside_it(intake: Intake, jobs: Jobs) -> None:
    requests = [make_request() for _ in range(20)]
    requests[7] = make_request(make_job(namespace="nul\0"))
    results = await asyncio.gather(*map(intake.submit, requests), return_exceptions=True)
    assert isinstance(results[7], Unstorable)
    assert sum(isinstance(result, BaseException) for result in results) == 1


async def test_bulk_answers_for_each_job(intake: Intake, jobs: Jobs) -> None:
    await intake.submit(make_request(make_job("resnet")))
    many = [make_job() for _ in range(1500)]
    many[3] = make_job("resnet")
    receipt = await intake.submit(make_request(*many))
    assert set(receipt.refused) == {many[3].id}
    assert len(receipt.job_ids) == 1499 and len(await jobs.find(receipt.job_ids)) == 1499


async def test_backends_that_are_ended_under_load_lose_and_double_nothing(
    intake: Intake, jobs: Jobs, database_url: str
) -> None:
    ids = []
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        for wave in range(12):
            keys = [f"{wave}-{number}" if number % 3 == 0 else None for number in range(40)]
            tasks = [asyncio.create_task(intake.submit(make_request(key=key))) for key in keys]
            while not any(task.done() for task in tasks):
                ended = await other.execute(TERMINATE_WRITERS)
                if ended.rowcount > 0:
                    break
            ids += [receipt.job_ids[0] for receipt in await asyncio.gather(*tasks)]
        counted = await other.execute(b"select count(*) from muster.jobs")
        assert await counted.fetchone() == (480,)
    assert len(set(ids)) == len(ids) == len(await jobs.find(ids)) == 480


async def test_a_request_with_a_key_that_uses_a_name_twice_is_refused_whole(intake: Intake, jobs: Jobs) -> None:
    request = make_request(make_job("twin"), make_job("other"), make_job("twin"), key="twins", body="b")
    with pytest.raises(NameTaken, match="twin"):
        await intake.submit(request)
    assert not await jobs.find([job.id for job in request.jobs])
    again = make_request(make_job("twin"), make_job("other"), key="twins", body="mended")
    assert len((await intake.submit(again)).job_ids) == 2, "the key is still free"


async def test_the_same_name_elsewhere_is_another_name(intake: Intake) -> None:
    request = make_request(make_job("twin"), make_job("twin", namespace="team-b"), key="twins")
    assert len((await intake.submit(request)).job_ids) == 2


async def test_requests_with_keys_that_want_one_name_keep_nobody_else_from_being_stored(intake: Intake) -> None:
    """They meet in one statement, beside others."""
    rivals = [make_request(make_job("wanted"), key=f"key {number}") for number in range(3)]
    others = [make_request(make_job(), key=f"other {number}") for number in range(20)]
    outcomes = await asyncio.gather(*map(intake.submit, [*others, *rivals]), return_exceptions=True)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[: len(others)])
    stored = [outcome for outcome in outcomes[len(others) :] if isinstance(outcome, Receipt)]
    refused = [outcome for outcome in outcomes[len(others) :] if isinstance(outcome, NameTaken)]
    assert (len(stored), len(refused)) == (1, 2)
