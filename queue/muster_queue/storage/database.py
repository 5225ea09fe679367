"""The way to Postgres: a pool, a limit on every wait, and errors that say whether a write has happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self

import msgspec
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from muster_kube.backoff import Backoff
from muster_queue.storage.classification import Verdict, is_of_old_schema, verdict_on
from muster_queue.storage.errors import Contended, OutcomeUnknown, StorageAway, StorageError, Unstorable
from muster_queue.storage.lending import Lender, Pool, Row, hang_up
from muster_queue.storage.settings import StorageSettings, connection_string

log = structlog.get_logger(__name__)

Parameters = Mapping[str, Any]
Record = dict[str, Any]

REPEATS: Final = 5
RECONNECT_SECONDS: Final = 2.0
"""How long the pool itself tries to mend a connection; whoever comes later makes it try again at once."""
LONGEST_IDLE_SECONDS: Final = 300.0

SESSION: Final = {
    "timezone": "UTC",
    "jit": "off",
    # Every statement looks up by key. A plan that was made while the tables were empty would read them whole, and be
    # kept until the next analyze: so there are no scans, and no joins that are fed by one.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Planning a statement of ten parts anew costs more than running it.
    "plan_cache_mode": "force_generic_plan",
}


class Database:
    """Runs statements, each in a transaction of its own; use it as a context manager.

    A read is repeated when its connection is lost. A write is not, unless the caller knows that doing it twice is the
    same as once: then `OutcomeUnknown` is raised only after the repetitions have failed too.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._pool = self._make_pool("muster", settings.database_connections)
        self._relaxed = self._make_pool(
            "muster-relaxed", settings.database_relaxed_connections, synchronous_commit="off"
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Returns at once, also where the server is away: connections come when they can."""
        for pool in (self._pool, self._relaxed):
            await pool.open()

    async def close(self) -> None:
        for pool in (self._pool, self._relaxed):
            await pool.close()

    async def read(self, statement: bytes, parameters: Parameters) -> list[Row]:
        """The rows of a statement that changes nothing."""
        return await self._repeat(self._pool, statement, parameters, is_repeatable=True, is_write=False)

    async def read_records(self, statement: bytes, parameters: Parameters) -> list[Record]:
        """The same, with the names of the columns."""
        return await self._repeat(
            self._pool, statement, parameters, is_repeatable=True, is_write=False, with_names=True
        )

    async def write(
        self, statement: bytes, parameters: Parameters, *, is_repeatable: bool = False, relaxed: bool = False
    ) -> list[Row]:
        """The rows that a statement returns, after its commit; `relaxed`: a crash of the server may undo it."""
        pool = self._relaxed if relaxed else self._pool
        return await self._repeat(pool, statement, parameters, is_repeatable=is_repeatable, is_write=True)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[Row]]:
        """A connection in a transaction, for the few things that need several statements; the body may not linger."""
        try:
            async with self._connection(self._pool) as connection, connection.transaction():
                yield connection
        except psycopg.Error as error:
            raise _as_storage_error(error, is_write=True) from error

    def statistics(self) -> dict[str, int]:
        """What the pool counts: its size, who waits, what was lost."""
        return self._pool.statistics()

    async def _repeat(
        self,
        pool: Lender,
        statement: bytes,
        parameters: Parameters,
        *,
        is_repeatable: bool,
        is_write: bool,
        with_names: bool = False,
    ) -> list[Any]:
        pause = Backoff(first=0.01, longest=0.5)
        is_in_doubt = False
        for left in reversed(range(REPEATS)):
            try:
                return await self._run(pool, statement, parameters, with_names=with_names)
            except StorageAway as error:
                raise _after_doubt(error, is_in_doubt=is_in_doubt) from error
            except psycopg.Error as error:
                verdict = verdict_on(error)
                is_in_doubt = is_in_doubt or (verdict is Verdict.UNKNOWN and is_write)
                again = verdict is Verdict.REPEAT or (verdict is Verdict.UNKNOWN and is_repeatable)
                if not again or not left:
                    raise _after_doubt(_as_storage_error(error, is_write), is_in_doubt=is_in_doubt) from error
                if is_of_old_schema(error):
                    await pool.renew()
                log.info("statement is repeated", reason=verdict.name, sqlstate=error.sqlstate)
            await asyncio.sleep(pause.next_delay())
        raise AssertionError("unreachable")

    async def _run(self, pool: Lender, statement: bytes, parameters: Parameters, *, with_names: bool) -> list[Any]:
        async with self._connection(pool) as connection:
            cursor = connection.cursor(row_factory=dict_row) if with_names else connection.cursor()
            async with cursor:
                await cursor.execute(statement, parameters)
                return await cursor.fetchall()

    @contextlib.asynccontextmanager
    async def _connection(self, pool: Lender) -> AsyncIterator[AsyncConnection[Row]]:
        """One connection for a moment; when the server falls silent, it is hung up, and the wait ends with an error."""
        try:
            connection = await pool.take()
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise StorageAway(f"no connection to the database: {error}") from error
        limit = self._settings.database_hang_up_after
        watchdog = asyncio.get_running_loop().call_later(limit, hang_up, connection)
        try:
            yield connection
        finally:
            watchdog.cancel()
            await pool.give_back(connection)

    def _make_pool(self, name: str, connections: int, **session: str) -> Lender:
        settings = self._settings
        limits = {"statement_timeout": int(settings.database_statement_timeout * 1000)}
        limits["idle_in_transaction_session_timeout"] = limits["statement_timeout"]
        options = " ".join(f"-c {key}={value}" for key, value in {**SESSION, **limits, **session}.items())
        address = connection_string(
            settings.database_url.get_secret_value(),
            connect_timeout=settings.database_connect_timeout,
            tcp_user_timeout=int(settings.database_hang_up_after * 1000),
            application_name=name,
            options=options,
        )
        pool: Pool = AsyncConnectionPool(
            address,
            name=name,
            kwargs={"autocommit": True, "prepare_threshold": 0 if settings.database_prepares else None},
            min_size=1,
            max_size=connections,
            open=False,
            configure=_configure,
            timeout=settings.database_acquire_timeout,
            max_idle=LONGEST_IDLE_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
        )
        return Lender(pool, settings.database_acquire_timeout)


async def _configure(connection: AsyncConnection[Row]) -> None:
    set_json_loads(msgspec.Raw, context=connection)


def _as_storage_error(error: psycopg.Error, is_write: bool) -> StorageError | psycopg.Error:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    match verdict_on(error):
        case Verdict.UNKNOWN if is_write:
            return OutcomeUnknown(f"the connection was lost during a write: {text}")
        case Verdict.REPEAT:
            return Contended(f"other transactions were in the way each time: {text}")
        case Verdict.UNKNOWN | Verdict.AWAY:
            return StorageAway(f"the database could not do it now: {text}")
        case Verdict.UNSTORABLE:
            return Unstorable(text)
        case Verdict.BROKEN:
            return error


def _after_doubt(error: StorageError | psycopg.Error, *, is_in_doubt: bool) -> StorageError | psycopg.Error:
    """A write that was once in doubt stays so, whatever its repetitions have met since."""
    if is_in_doubt and not isinstance(error, OutcomeUnknown):
        return OutcomeUnknown(f"a write is in doubt and could not be repeated: {error}")
    return error
