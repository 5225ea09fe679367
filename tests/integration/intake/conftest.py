"""An intake at work on a database of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bones.storing import IDS, Told, open_database
from muster_queue.intake.intake import Intake
from muster_queue.intake.settings import IntakeSettings
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.submissions import Submissions


@pytest.fixture
async def database(app_url: str) -> AsyncIterator[Database]:
    async with open_database(app_url) as opened:
        yield opened


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def intake(database: Database, jobs: Jobs, told: Told) -> AsyncIterator[Intake]:
    made = Intake(Submissions(database), jobs, IntakeSettings(), on_stored=told, ids=IDS)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
