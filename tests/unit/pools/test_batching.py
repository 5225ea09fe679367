from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from muster_queue.intake.errors import Overloaded
from muster_queue.pools.batching import NaturalBatches
from muster_queue.storage.errors import StorageAway, Unstorable


class Store:
    """Doubles numbers, as slowly as a test wants; 13 cannot be stored."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failures: list[Exception] = []

    async def send(self, items: list[int]) -> list[int]:
        await self.gate.wait()
        self.batches.append(items)
        if self.failures:
            raise self.failures.pop()
        if 13 in items:
            raise Unstorable("13")
        return [item * 2 for item in items]


@asynccontextmanager
async def batches_of(store: Store, room: int = 1000) -> AsyncIterator[NaturalBatches[int, int]]:
    batches = NaturalBatches[int, int]("test", store.send, lambda item: item, room)
    running = asyncio.create_task(batches.run())
    try:
        yield batches
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_during_a_batch_goes_together_into_the_next() -> None:
    store = Store()
    async with batches_of(store) as batches:
        callers = [asyncio.create_task(batches.submit([1]))]
        await settle()
        callers += [asyncio.create_task(batches.submit([number, number + 20])) for number in (2, 3)]
        await settle()
        store.gate.set()
        assert await asyncio.gather(*callers) == [[2], [4, 44], [6, 46]]
    assert store.batches == [[1], [2, 22, 3, 23]]


async def test_one_that_cannot_be_stored_stops_nobody_else() -> None:
    store = Store()
    async with batches_of(store) as batches:
        callers = [asyncio.create_task(batches.submit([number])) for number in (1, 13, 2, 3)]
        await settle()
        store.gate.set()
        found = await asyncio.gather(*callers, return_exceptions=True)
    assert [found[0], found[2], found[3]] == [[2], [4], [6]] and isinstance(found[1], Unstorable)


async def test_two_about_the_same_thing_are_never_in_one_batch() -> None:
    store = Store()
    async with batches_of(store) as batches:
        callers = [asyncio.create_task(batches.submit([7])) for _ in range(3)]
        store.gate.set()
        await asyncio.gather(*callers)
    assert store.batches == [[7], [7], [7]]


async def test_a_failure_is_told_to_all_of_its_batch_and_the_next_goes_on() -> None:
    store = Store()
    store.failures = [RuntimeError("broken")]
    store.gate.set()
    async with batches_of(store) as batches:
        with pytest.raises(StorageAway, match="internal error"):
            await batches.submit([1])
        assert await batches.submit([2]) == [4]


async def test_too_much_is_refused_before_it_waits() -> None:
    store = Store()
    async with batches_of(store, room=2) as batches:
        first = asyncio.create_task(batches.submit([1, 2]))
        await settle()
        with pytest.raises(Overloaded):
            await batches.submit([3])
        store.gate.set()
        assert await first == [2, 4]


async def test_who_waits_when_it_ends_is_told_so() -> None:
    store = Store()
    async with batches_of(store) as batches:
        waiting = asyncio.create_task(batches.submit([1]))
        await settle()
    with pytest.raises(StorageAway):
        await waiting
    with pytest.raises(StorageAway):
        await batches.submit([2])
