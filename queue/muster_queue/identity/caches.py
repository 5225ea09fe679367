"""Answers worth remembering for a moment: bounded, expiring, and asked for once however many wait for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringCache(Generic[K, V]):
    """Forgets what has expired, and what was not asked about for the longest time once it is full."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now: float) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: K, value: V, expires: float) -> None:
        self._entries[key] = (expires, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)


class SharedCalls(Generic[K, V]):
    """Calls that several wait for at once: the first one starts it, and no waiter who leaves takes it with them."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, key: K, work: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        """The call under way for this key, begun now if there is none."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.ensure_future(_run(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def result(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """What the call gives, or raises."""
        return await asyncio.shield(self.begin(key, work))

    async def close(self) -> None:
        """Ends whatever is still under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, key: K, task: asyncio.Task[V]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            # Looked at, so that an error nobody waited for is not reported as forgotten.
            task.exception()


async def _run(work: Callable[[], Awaitable[V]]) -> V:
    return await work()
