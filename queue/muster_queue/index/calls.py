"""Calling a script: by its digest, taught to the server where it does not know it, never without a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from redis import exceptions

from muster_kube.cancelling import heeding_cancellation
from muster_queue.index.connection import Connected, IndexSettings, connect
from muster_queue.index.errors import IndexAway, IndexFailure, IndexFull, IndexMisused
from muster_queue.index.lua import script

Argument = str | bytes | int | float

_PASSING = ("READONLY", "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "UNKILLABLE", "NOREPLICAS", "MISCONF")
"""First words of errors that pass without anybody changing a call: starting, failing over, disk full."""


class Calls:
    """Every call of the index goes through here."""

    def __init__(self, connected: Connected, timeout: float) -> None:
        self._connected = connected
        self._timeout = timeout

    @classmethod
    def to(cls, settings: IndexSettings) -> Self:
        """Of the server or servers that the settings name; nothing is connected yet."""
        return cls(connect(settings), settings.call_timeout)

    async def run(self, operation: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Runs the script of that name; what fails is one of IndexFailure."""
        # The client sends with `wait_for`, and whoever calls in a loop would go on for ever.
        with heeding_cancellation():
            return await self._run_in_time(operation, keys, arguments)

    async def _run_in_time(self, operation: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._run(operation, keys, arguments)
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError) as error:
            raise _translated(operation, error) from error

    async def _run(self, operation: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        called = script(operation)
        try:
            return await self._connected.client.execute_command("EVALSHA", called.digest, len(keys), *keys, *arguments)
        except exceptions.NoScriptError:
            # Restarted, failed over, or another node of the cluster: EVAL runs it and teaches it in one go.
            return await self._connected.client.execute_command("EVAL", called.source, len(keys), *keys, *arguments)

    async def close(self) -> None:
        """Gives the connections back."""
        await self._connected.close()


def _translated(operation: str, error: Exception) -> IndexFailure:
    text = f"{operation}: {str(error) or type(error).__name__}"
    if isinstance(error, exceptions.OutOfMemoryError):
        return IndexFull(text)
    passing = (
        exceptions.BusyLoadingError,
        exceptions.ReadOnlyError,
        exceptions.ClusterError,
        exceptions.TryAgainError,
        exceptions.MasterDownError,
        exceptions.AskError,
    )
    if isinstance(error, exceptions.ResponseError) and not isinstance(error, passing):
        return _by_wording(text)
    return IndexAway(text)


def _by_wording(text: str) -> IndexFailure:
    """Errors that scripts pass on lose their class; the server's own first word remains."""
    if "OOM " in text:
        return IndexFull(text)
    if any(f"{word} " in text for word in _PASSING):
        return IndexAway(text)
    return IndexMisused(text)
