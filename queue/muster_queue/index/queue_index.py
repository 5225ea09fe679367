"""The waiting and leased jobs of each queue. Every call may be repeated; none is needed for the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from muster_queue.index.calls import Calls
from muster_queue.index.keys import QueueKey
from muster_queue.index.lua import MOST_JOBS
from muster_queue.index.scores import BAND, BEGINNING, TICK
from muster_queue.index.values import Answer, Depth, Entry, Held, Lease, Taken, Whereabouts

Item = TypeVar("Item")

_PACK: Final = msgspec.msgpack.Encoder().encode

TOLD_AGAIN_SECONDS = 30.0
"""After which an ended lease is told again if nobody has dealt with it."""


class QueueIndex:
    """Batches of any size are cut into calls of at most 500 jobs, each of them atomic."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def add(self, queue: QueueKey, entries: Sequence[Entry]) -> int:
        """Puts jobs among the waiting and tells how many were not there; a job that is leased stays so.

        A later attempt ends an earlier one's lease. The score of a job that waits already is not touched.
        """
        added = 0
        for part in in_parts(entries):
            listed = _PACK([value for entry in part for value in (entry.job, entry.score, entry.attempt)])
            added += int(await self._calls.run("add", _all_keys(queue), (listed,)))
        return added

    async def reprioritize(self, queue: QueueKey, entries: Sequence[Entry]) -> list[bool]:
        """Gives waiting jobs their new score and tells which of them wait; attempts are not looked at.

        Who does not find a job keeps the outbox row: it may be on its way here with the old score.
        """
        found: list[bool] = []
        for part in in_parts(entries):
            arguments = [value for entry in part for value in (entry.job, entry.score)]
            found += map(bool, await self._calls.run("reprioritize", (queue.waiting,), arguments))
        return found

    async def take(self, queue: QueueKey, most: int, lease_seconds: float) -> Taken:
        """Hands out the best jobs, up to 500; whoever loses the answer loses nothing, since leases end.

        A claim in Postgres has to follow: the index may know a job that is no longer to be done.
        """
        count = min(most, MOST_JOBS)
        if count < 1:
            return Taken()
        keys = (queue.waiting, queue.leases, queue.attempts)
        ends, *taken = await self._calls.run("take", keys, (count, milliseconds(lease_seconds)))
        if not taken:
            return Taken()
        return Taken(tuple(entries_of(taken)), moment(ends))

    async def heartbeat(self, queue: QueueKey, leases: Sequence[Lease], lease_seconds: float) -> list[Answer]:
        """Extends leases to so long from now."""
        answers: list[Answer] = []
        for part in in_parts(leases):
            arguments = [milliseconds(lease_seconds), *_pairs(part)]
            answers += map(Answer, await self._calls.run("heartbeat", (queue.leases, queue.attempts), arguments))
        return answers

    async def acknowledge(self, queue: QueueKey, leases: Sequence[Lease]) -> list[Answer]:
        """Forgets jobs whose attempt was the last, leased or not; one with a later attempt is kept."""
        answers: list[Answer] = []
        for part in in_parts(leases):
            answers += map(Answer, await self._calls.run("acknowledge", _all_keys(queue), _pairs(part)))
        return answers

    async def give_back(self, queue: QueueKey, entries: Sequence[Entry]) -> list[Answer]:
        """Puts leased jobs among the waiting again, for the same attempt or a later one."""
        answers: list[Answer] = []
        for part in in_parts(entries):
            arguments = [value for entry in part for value in (entry.job, entry.score, entry.attempt)]
            answers += map(Answer, await self._calls.run("give_back", _all_keys(queue), arguments))
        return answers

    async def restore(self, queue: QueueKey, held: Sequence[Held]) -> int:
        """Puts in leases that Postgres knows of and the index may not: lost with the store, or claimed past it."""
        restored = 0
        for part in in_parts(held):
            arguments = [value for job in part for value in (job.job, job.attempt, milliseconds(job.seconds))]
            restored += int(await self._calls.run("restore_leases", _all_keys(queue), arguments))
        return restored

    async def expire(
        self, queue: QueueKey, most: int = MOST_JOBS, *, told_again_seconds: float = TOLD_AGAIN_SECONDS
    ) -> list[Lease]:
        """Tells leases that have ended, the longest overdue first, up to 500.

        They stay until somebody acknowledges them, gives them back or adds a later attempt, and are told again.
        """
        arguments = (min(most, MOST_JOBS), milliseconds(told_again_seconds))
        told = await self._calls.run("expire", (queue.leases, queue.attempts), arguments)
        return [Lease(job, attempt) for job, attempt in zip(told[::2], told[1::2], strict=True)]

    async def withdraw(self, queue: QueueKey, jobs: Sequence[str]) -> list[Whereabouts]:
        """Takes cancelled and held jobs out, and tells where each was; a holder learns it at its next heartbeat."""
        found: list[Whereabouts] = []
        for part in in_parts(jobs):
            found += map(Whereabouts, await self._calls.run("withdraw", _all_keys(queue), part))
        return found

    async def measure(self, queue: QueueKey) -> Depth:
        """How many wait and are leased, which is next, and since when the longest waiting one waits."""
        keys = (queue.waiting, queue.leases)
        now, waiting, leased, overdue, *rest = await self._calls.run("measure", keys, (BAND,))
        head = Entry(rest[0], int(float(rest[1]))) if rest else None
        oldest = BEGINNING + int(rest[2]) * TICK if rest else None
        return Depth(moment(now), waiting, leased, overdue, head, oldest)


def in_parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cuts a batch into what one call may carry."""
    for start in range(0, len(items), MOST_JOBS):
        yield items[start : start + MOST_JOBS]


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def moment(reading: int) -> datetime:
    """A time of the server's clock."""
    return datetime.fromtimestamp(reading / 1000, UTC)


def entries_of(flat: Sequence[Any]) -> Iterator[Entry]:
    """Entries from what scripts return: job, score, attempt, and so on."""
    for position in range(0, len(flat), 3):
        yield Entry(flat[position], int(float(flat[position + 1])), int(flat[position + 2]))


def _all_keys(queue: QueueKey) -> tuple[str, str, str]:
    return queue.waiting, queue.leases, queue.attempts


def _pairs(leases: Iterable[Lease]) -> list[str | int]:
    return [value for lease in leases for value in (lease.job, lease.attempt)]
