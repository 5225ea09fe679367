"""A program finds out whether the schema is its own, and what is old goes by itself."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from bones.clock import ManualClock
from bones.postgres import PostgresServer
from bones.storing import make_job, make_request, make_settings, open_database
from muster_api.phases import JobPhase
from muster_queue.storage.audit import AuditTrail, Sealer
from muster_queue.storage.database import Database
from muster_queue.storage.errors import NotFound, SchemaMismatch
from muster_queue.storage.housekeeping import Housekeeping
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.migrations.runner import head_revision
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change
from muster_queue.storage.schema import SCHEMA_REVISION, require_schema
from muster_queue.storage.submissions import Submissions


def test_services_know_the_newest_revision() -> None:
    assert head_revision() == SCHEMA_REVISION


async def test_a_program_refuses_a_schema_that_is_older_than_itself(database: Database, database_url: str) -> None:
    await require_schema(database)
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("update muster.schema_revision set version_num = '0001'")
        with pytest.raises(SchemaMismatch, match="revision 0001"):
            await require_schema(database)
        other.execute("update muster.schema_revision set version_num = '9999'")
    await require_schema(database)


async def test_a_database_without_a_schema_is_told_as_such(postgres: PostgresServer) -> None:
    name = postgres.create_database()
    try:
        async with open_database(postgres.url(name)) as empty:
            with pytest.raises(SchemaMismatch, match="migrate up"):
                await require_schema(empty)
    finally:
        postgres.drop_database(name)


async def test_what_is_older_than_it_is_kept_goes(
    database: Database, submissions: Submissions, mover: Mover, jobs: Jobs, app_url: str
) -> None:
    job = make_job()
    request = make_request(job, key="k")
    await submissions.store([request])
    gone = Change(job_id=job.id, target=JobPhase.CANCELLED, is_gone=True)
    await mover.move_one(gone, Actor(name="leader", action="delete"))
    settings = make_settings(app_url, keep_keys_hours=1e-9)
    clock = ManualClock(now=datetime.now(UTC) + timedelta(days=91))
    tidying = asyncio.create_task(Housekeeping(database).run(settings, clock))
    async with asyncio.timeout(30):
        with pytest.raises(NotFound):
            while True:
                await jobs.get(job.id)
    tidying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tidying
    assert request.key is not None and await submissions.owners([request.key]) == {}


async def test_the_sealer_goes_on_by_itself(database: Database, submissions: Submissions) -> None:
    sealing = asyncio.create_task(Sealer(database).run(pause_seconds=0.01))
    await submissions.store([make_request()])
    async with asyncio.timeout(30):
        while await AuditTrail(database).head() is None:
            continue
    sealing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sealing
