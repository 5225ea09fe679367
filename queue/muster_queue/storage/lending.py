"""Lends the connections of a pool for one statement each, at less cost than the pool itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import time
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

log = structlog.get_logger(__name__)

Row = tuple[Any, ...]
Pool = AsyncConnectionPool[AsyncConnection[Row]]

LIVENESS_SECONDS: Final = 1.0
MOST_AT_HAND: Final = 2
KEPT_SECONDS: Final = 60.0
"""After which a connection goes back to the pool, which looks at its age."""


class Lender:
    """Keeps a connection or two at hand between statements: a visit to the pool costs as much as sending a statement.

    Nobody who waits for the pool waits because of that: what is given back while somebody does goes to the pool.
    """

    def __init__(self, pool: Pool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._at_hand: list[AsyncConnection[Row]] = []
        self._taken_at: dict[AsyncConnection[Row], float] = {}
        self._waiting = 0
        self._renewed_at = 0.0

    async def open(self) -> None:
        """Returns at once, also where the server is away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._empty()
        await self._pool.close()

    async def renew(self) -> None:
        """No connection that was made before is lent again: what they have prepared is of no use any more."""
        self._renewed_at = time.monotonic()
        await self._pool.drain()
        await self._empty()

    def statistics(self) -> dict[str, int]:
        """What the pool counts, of which those at hand are in use."""
        return dict(self._pool.get_stats())

    async def take(self) -> AsyncConnection[Row]:
        """One that lives: those that have died while they were idle are passed over, without the pool's own pauses.

        Raises what the pool raises when there is none in time.
        """
        while True:
            connection = self._at_hand.pop() if self._at_hand else await self._from_pool()
            if await _is_alive(connection):
                return connection
            await self._put_back(connection)

    async def give_back(self, connection: AsyncConnection[Row]) -> None:
        """Whatever has become of it."""
        if self._may_be_kept(connection):
            self._at_hand.append(connection)
        else:
            await self._put_back(connection)

    def _may_be_kept(self, connection: AsyncConnection[Row]) -> bool:
        taken_at = self._taken_at[connection]
        return (
            connection.pgconn.transaction_status == TransactionStatus.IDLE
            and not self._waiting
            and len(self._at_hand) < MOST_AT_HAND
            and taken_at > self._renewed_at
            and time.monotonic() - taken_at < KEPT_SECONDS
            and not self._pool.closed
        )

    async def _from_pool(self) -> AsyncConnection[Row]:
        self._waiting += 1
        try:
            connection = await _taken(self._pool, self._timeout)
        finally:
            self._waiting -= 1
        self._taken_at[connection] = time.monotonic()
        return connection

    async def _empty(self) -> None:
        at_hand, self._at_hand = self._at_hand, []
        for connection in at_hand:
            await self._put_back(connection)

    async def _put_back(self, connection: AsyncConnection[Row]) -> None:
        del self._taken_at[connection]
        await self._pool.putconn(connection)


async def _taken(pool: Pool, seconds: float) -> AsyncConnection[Row]:
    """Python 3.11's `wait_for`, which the pool waits with, loses a cancellation that comes with the connection."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    connection = await pool.getconn(seconds)
    if task is not None and task.cancelling() > before:
        await pool.putconn(connection)
        raise asyncio.CancelledError
    return connection


async def _is_alive(connection: AsyncConnection[Row]) -> bool:
    """Asks the server only where its socket has something to say: an idle one that does was mostly told to go."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    watchdog = asyncio.get_running_loop().call_later(LIVENESS_SECONDS, hang_up, connection)
    try:
        await connection.execute(b"select 1", prepare=False)
    except psycopg.Error:
        await connection.close()
        return False
    finally:
        watchdog.cancel()
    return True


def hang_up(connection: AsyncConnection[Row]) -> None:
    """Cancelling would wait for the server's answer to that; a socket that is shut answers at once."""
    log.warning("database is silent, connection hung up")
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
