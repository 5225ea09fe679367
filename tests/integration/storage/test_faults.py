"""Whatever happens to the server, an error says truly whether a write has happened, and the way back is found."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import psycopg
import pytest

from bones.postgres import PostgresServer, start_or_skip
from bones.storing import make_job, make_request, open_database
from bones.tcp_fault_proxy import Direction, FaultProxy, Faults
from muster_queue.storage.database import Database
from muster_queue.storage.errors import OutcomeUnknown, StorageAway, StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.migrations.runner import upgrade
from muster_queue.storage.submissions import Submissions

TERMINATE_ALL = b"select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'muster%%'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, to be hurt."""
    own = start_or_skip()
    yield own
    own.destroy()


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    name = server.create_database()
    upgrade(server.url(name))
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_database(url) as opened:
        yield opened


async def test_a_cancellation_that_comes_with_a_connection_is_not_lost(url: str) -> None:
    """Whoever waits for the only connection is handed it and cancelled in the same step."""
    async with open_database(url, database_connections=1) as database:

        async def ask_for_ever() -> None:
            while True:
                await database.read(b"select 1", {})

        async with database.transaction():
            asking = asyncio.create_task(ask_for_ever())
            async with asyncio.timeout(30):
                for _ in itertools.count():
                    if database.statistics().get("requests_waiting"):
                        break
                    await asyncio.sleep(0)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=30)
        assert done, "it goes on for ever"
        assert asking.cancelled()
        assert await database.read(b"select 1", {}) == [(1,)]


async def until_it_answers(database: Database) -> None:
    """The pool finds a server that is back by itself: whoever asks makes it try."""
    async with asyncio.timeout(30):
        while True:
            try:
                await database.read(b"select 1", {})
            except StorageAway:
                continue
            return


async def test_connections_that_were_ended_while_idle_are_not_handed_out(database: Database, url: str) -> None:
    await asyncio.gather(*(database.read(b"select pg_sleep(0.05)", {}) for _ in range(4)))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(TERMINATE_ALL)
        # The goodbye is on its way once the server lists them no more.
        while other.execute(b"select from pg_stat_activity where application_name like 'muster%%'").fetchall():
            other.execute(TERMINATE_ALL)
    for _ in range(4):
        assert await database.write(b"select 1", {}) == [(1,)]


async def test_a_write_whose_backend_is_ended_is_in_doubt_and_a_read_is_repeated(database: Database, url: str) -> None:
    write = asyncio.create_task(database.write(b"select pg_sleep(4)", {}))
    read = asyncio.create_task(database.read(b"select 1 from pg_sleep(0.5)", {}))
    with psycopg.connect(url, autocommit=True) as other:
        await until_busy(other, 2)
        other.execute(TERMINATE_ALL)
    with pytest.raises(OutcomeUnknown):
        await write
    assert await read == [(1,)]


async def until_busy(watching: psycopg.Connection[tuple[object, ...]], backends: int) -> None:
    query = b"select from pg_stat_activity where application_name like 'muster%%' and state = 'active'"
    async with asyncio.timeout(30):
        while len(await asyncio.to_thread(lambda: watching.execute(query).fetchall())) < backends:
            continue


async def test_a_statement_that_takes_too_long_has_not_happened(url: str) -> None:
    async with open_database(url, database_statement_timeout=0.1) as database:
        with pytest.raises(StorageAway):
            await database.write(b"select pg_sleep(10)", {})


async def test_a_server_that_is_stopped_is_away_and_found_again(server: PostgresServer, database: Database) -> None:
    jobs = Submissions(database)
    await jobs.store([make_request()])
    await asyncio.to_thread(server.stop)
    for _ in range(3):
        with pytest.raises(StorageAway):
            await jobs.store([make_request()])
    await asyncio.to_thread(server.start)
    await until_it_answers(database)
    assert not (await jobs.store([make_request()])).missing


async def test_after_a_crash_under_load_every_acknowledged_job_is_there(
    server: PostgresServer, database: Database
) -> None:
    submissions, acknowledged, doubtful = Submissions(database), set(), set()
    is_down, is_busy = asyncio.Event(), asyncio.Event()

    async def submit_for_ever() -> None:
        while not is_down.is_set():
            job = make_job()
            try:
                await submissions.store([make_request(job)])
                acknowledged.add(job.id)
                if len(acknowledged) == 200:
                    is_busy.set()
            except OutcomeUnknown:
                doubtful.add(job.id)
            except StorageAway:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(submit_for_ever())
        await is_busy.wait()
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        is_down.set()
    await asyncio.to_thread(server.start)
    await until_it_answers(database)
    present = set(await Jobs(database).find([*acknowledged, *doubtful]))
    assert acknowledged <= present
    assert len(doubtful) <= 8


async def test_a_server_that_hangs_is_hung_up(server: PostgresServer, url: str) -> None:
    async with open_database(url, database_hang_up_after=0.5) as database:
        await database.write(b"select 1", {})
        server.freeze()
        try:
            with pytest.raises(StorageError):
                await database.write(b"select 2", {})
        finally:
            server.thaw()
        await until_it_answers(database)


async def test_an_answer_that_is_lost_after_the_commit_leaves_the_outcome_unknown(
    server: PostgresServer, url: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    async with FaultProxy("127.0.0.1", server.port) as proxy:
        distant = server.url(str(name), port=proxy.port)
        async with open_database(distant, database_hang_up_after=1.0, database_connections=1) as database:
            submissions, job = Submissions(database), make_job()
            await submissions.store([make_request()])
            proxy.faults = replace(proxy.faults, blackhole=frozenset({Direction.DOWN}))
            with pytest.raises(OutcomeUnknown):
                await submissions.store([make_request(job)])
            proxy.cut()
            proxy.faults = Faults()
            await until_it_answers(database)
            assert job.id in await Jobs(database).find([job.id])


async def test_a_plan_from_before_a_change_of_the_schema_is_made_anew(database: Database, url: str) -> None:
    submissions, job = Submissions(database), make_job()
    await submissions.store([make_request(job)])
    await asyncio.gather(*(Jobs(database).get(job.id) for _ in range(8)))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("alter table muster.jobs add column later text")
    assert (await Jobs(database).get(job.id)).id == job.id
