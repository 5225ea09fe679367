"""Making one queue of the index right again, batch by batch, while others go on adding and taking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from muster_queue.index.calls import Calls
from muster_queue.index.judgement import Doubt
from muster_queue.index.keys import QueueKey
from muster_queue.index.lua import MOST_JOBS
from muster_queue.index.markers import Rebuild
from muster_queue.index.queue_index import QueueIndex, entries_of, in_parts
from muster_queue.index.truth import Truth
from muster_queue.index.values import Entry, Held, Lease

Page = TypeVar("Page")


class Repair(msgspec.Struct, frozen=True):
    """What was done to a queue."""

    queue: QueueKey
    doubt: Doubt
    complete: bool = False
    added: int = 0
    restored: int = 0
    removed: int = 0
    corrected: int = 0
    problem: str = ""
    """Why it is not complete."""


class Counts(msgspec.Struct):
    """Of one repair, as it goes."""

    added: int = 0
    restored: int = 0
    removed: int = 0
    corrected: int = 0


class QueueRepair:
    """Fills in what is missing, then takes out what is too much.

    Whatever changes meanwhile is safe: nothing here overwrites a later attempt, a lease or a new score, and what slips
    through (a job put in just after it ended) is refused by the claim in Postgres when it is taken.
    """

    def __init__(self, calls: Calls, truth: Truth, queue: QueueKey, rebuilds: Sequence[Rebuild]) -> None:
        self._calls = calls
        self._index = QueueIndex(calls)
        self._truth = truth
        self._queue = queue
        self._rebuilds = rebuilds
        self.counts = Counts()

    async def fill(self) -> None:
        """Puts in everything that Postgres has, page by page."""
        async with aclosing(_ahead(self._truth.pages(self._queue))) as pages:
            async for page in pages:
                await self._put(page)
                await self._go_on()

    async def sweep(self) -> None:
        """Looks at everything that the index has, and mends what Postgres sees otherwise."""
        for key in (self._queue.waiting, self._queue.leases):
            async with aclosing(_ahead(self._scan(key))) as pages:
                async for seen in pages:
                    await self._compare(seen, leased=key == self._queue.leases)
                    await self._go_on()

    async def _go_on(self) -> None:
        for rebuild in self._rebuilds:
            await rebuild.go_on()

    async def _put(self, page: Sequence[Entry | Held]) -> None:
        self.counts.added += await self._index.add(self._queue, [job for job in page if isinstance(job, Entry)])
        await self._restore([job for job in page if isinstance(job, Held)])

    async def _restore(self, held: Sequence[Held]) -> None:
        self.counts.restored += await self._index.restore(self._queue, held)

    async def _scan(self, key: str) -> AsyncGenerator[list[Entry], None]:
        cursor = "0"
        while True:
            cursor, *flat = await self._calls.run("page", (key, self._queue.attempts), (cursor, MOST_JOBS))
            if flat:
                yield list(entries_of(flat))
            if cursor == "0":
                return

    async def _compare(self, seen: Sequence[Entry], *, leased: bool) -> None:
        right = await self._truth.among(self._queue, [entry.job for entry in seen])
        gone = [Lease(entry.job, entry.attempt) for entry in seen if entry.job not in right]
        self.counts.removed += sum(answer > 0 for answer in await self._index.acknowledge(self._queue, gone))
        present = [(entry, right[entry.job]) for entry in seen if entry.job in right]
        await self._put([job for entry, job in present if job.attempt > entry.attempt])
        if leased:
            # Taken and not claimed yet, as far as Postgres knows: the lease ends, or the claim comes.
            return
        same = [(entry, job) for entry, job in present if job.attempt == entry.attempt]
        await self._restore([job for _, job in same if isinstance(job, Held)])
        await self._correct(
            [(entry, job) for entry, job in same if isinstance(job, Entry) and job.score != entry.score]
        )

    async def _correct(self, wrong: Sequence[tuple[Entry, Entry]]) -> None:
        for part in in_parts(wrong):
            arguments = [value for seen, right in part for value in (seen.job, seen.score, right.score)]
            self.counts.corrected += int(await self._calls.run("correct", (self._queue.waiting,), arguments))


async def _ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """Fetches a page while the one before is worked on."""

    async def fetch() -> Page | None:
        return await anext(pages, None)

    following = asyncio.create_task(fetch())
    try:
        while (page := await following) is not None:
            following = asyncio.create_task(fetch())
            yield page
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
