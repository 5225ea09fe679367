"""A database and what works on it, for each test anew."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bones.storing import open_database
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.submissions import Submissions


@pytest.fixture
async def database(app_url: str) -> AsyncIterator[Database]:
    async with open_database(app_url) as opened:
        yield opened


@pytest.fixture
def submissions(database: Database) -> Submissions:
    return Submissions(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def mover(database: Database) -> Mover:
    return Mover(database)


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database)
