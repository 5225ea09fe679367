"""Natural batches: whatever has come since the last statement began goes into the next one; nobody waits for others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from muster_queue.intake.errors import Overloaded
from muster_queue.storage.errors import StorageAway, StorageError, Unstorable

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_OF_BATCH = 500
RETRY_AFTER = 1


@dataclass(slots=True, eq=False)
class _Parcel(Generic[Item, Result]):
    items: Sequence[Item]
    answer: asyncio.Future[list[Result]]


class NaturalBatches(Generic[Item, Result]):
    """Sends items of many callers together; `run` must be running for anybody to get an answer.

    What the database cannot store is found by halving the batch, and refused alone.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[list[Item]], Awaitable[list[Result]]],
        identity: Callable[[Item], Hashable],
        room: int,
        pace: float = 0.0,
    ) -> None:
        self._name = name
        self._send = send
        self._identity = identity
        self._room = room
        self._pace = pace
        self._waiting: deque[_Parcel[Item, Result]] = deque()
        self._came = asyncio.Event()
        self._is_closed = False
        self.items = 0

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """One result for each item, in their order; raises Overloaded, or what the statement died of."""
        if not items:
            return []
        if self._is_closed:
            raise StorageAway("this process is stopping")
        if self.items and self.items + len(items) > self._room:
            raise Overloaded(RETRY_AFTER)
        parcel = _Parcel[Item, Result](items, asyncio.get_running_loop().create_future())
        # A caller that hung up asks no more; its answer must not be reported as an error that nobody saw.
        parcel.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._waiting.append(parcel)
        self.items += len(items)
        self._came.set()
        return await asyncio.shield(parcel.answer)

    async def run(self) -> None:
        """Until it is cancelled; what waits then is refused."""
        batch: list[_Parcel[Item, Result]] = []
        try:
            while True:
                batch = await self._next()
                earliest = asyncio.get_running_loop().time() + self._pace
                await self._serve(batch)
                self.items -= sum(len(parcel.items) for parcel in batch)
                batch = []
                await asyncio.sleep(earliest - asyncio.get_running_loop().time())
        finally:
            self._is_closed = True
            _refuse([*batch, *self._waiting], StorageAway("this process is stopping"))

    async def _next(self) -> list[_Parcel[Item, Result]]:
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        batch: list[_Parcel[Item, Result]] = []
        seen: set[Hashable] = set()
        while self._waiting:
            names = {self._identity(item) for item in self._waiting[0].items}
            if batch and (len(seen) + len(names) > MOST_OF_BATCH or not seen.isdisjoint(names)):
                break
            seen |= names
            batch.append(self._waiting.popleft())
        return batch

    async def _serve(self, batch: Sequence[_Parcel[Item, Result]]) -> None:
        try:
            results = await self._send([item for parcel in batch for item in parcel.items])
        except Unstorable as error:
            if len(batch) == 1:
                _refuse(batch, error)
                return
            middle = len(batch) // 2
            await self._serve(batch[:middle])
            await self._serve(batch[middle:])
        except StorageError as error:
            _refuse(batch, error)
        except Exception as error:
            log.exception("a batch cannot be sent", batch=self._name, parcels=len(batch))
            _refuse(batch, StorageAway(f"internal error: {type(error).__name__}"))
        else:
            start = 0
            for parcel in batch:
                end = start + len(parcel.items)
                if not parcel.answer.done():
                    parcel.answer.set_result(results[start:end])
                start = end


def _refuse(batch: Sequence[_Parcel[Item, Result]], error: StorageError) -> None:
    for parcel in batch:
        if not parcel.answer.done():
            parcel.answer.set_exception(error)
