"""What is known of the AIJobs: from the watch and from the answers to own writes, whichever is newer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from muster_api.jobs import AIJob
from muster_api.phases import JobPhase
from muster_kube.reflector import Reflector
from muster_queue.dispatch.mirroring import phase_meant
from muster_queue.dispatch.rendering import spec_is_for_pools
from muster_queue.dispatch.window import QueuePlace, Rank
from muster_queue.jobs.ordering import order_text

Key = tuple[str, str]
"""Namespace and name."""

MOST_GONE: Final = 20_000
"""Deleted AIJobs that nobody has written down yet: with more of them, all jobs are compared anew."""


class Feed:
    """Keeps in mind which AIJobs have changed since they were last compared; one of them each, however often."""

    def __init__(self, priority_of: Callable[[AIJob], int]) -> None:
        self.needs_scan = False
        """More has changed than is kept in mind."""
        self._is_followed = False
        self._priority_of = priority_of
        self._answers: dict[Key, AIJob] = {}
        self._store: Mapping[Key, AIJob] = {}
        self._changed: dict[Key, None] = {}
        self._gone: dict[str, AIJob] = {}
        self._waiting: dict[QueuePlace, dict[Key, Rank]] = {}
        self._queue_of: dict[Key, QueuePlace] = {}
        self._news = asyncio.Event()

    def subscribe(self, reflector: Reflector[AIJob]) -> None:
        """From now on; it costs a few microseconds for each change."""
        self._store = reflector.store
        reflector.subscribe(self.see, lambda _, new: self.see(new), self.lose)

    def see(self, job: AIJob) -> None:
        """As the watch tells it."""
        key = _key(job)
        answer = self._answers.get(key)
        if answer is not None and not _is_older(job, answer):
            del self._answers[key]
        self._note(key)

    def see_answer(self, job: AIJob) -> None:
        """As an own write has left it, before the watch tells."""
        key = _key(job)
        known = self._answers.get(key) or self._store.get(key)
        if known is None or known.metadata.uid != job.metadata.uid or _is_older(known, job):
            self._answers[key] = job
        self._note(key)

    def lose(self, job: AIJob) -> None:
        """It is deleted, and this is how it stood."""
        key = _key(job)
        answer = self._answers.get(key)
        if answer is not None and answer.metadata.uid == job.metadata.uid:
            del self._answers[key]
        if self._is_followed and len(self._gone) < MOST_GONE:
            self._gone[job.metadata.uid] = job
        else:
            self.needs_scan = True
        self._note(key)

    def follow(self) -> None:
        """From now on somebody takes what changes, and begins by comparing all of it."""
        self._is_followed = True

    def leave(self) -> None:
        """Nobody does any more: nothing is kept for them."""
        self._is_followed = False
        self._changed.clear()
        self._gone.clear()
        self._news.clear()

    def touch(self, key: Key) -> None:
        """Compare it once more."""
        if self._is_followed:
            self._changed[key] = None
            self._news.set()

    def touch_all(self) -> None:
        """Compare all of them once."""
        for key in self.keys():
            self.touch(key)

    def known(self, key: Key) -> AIJob | None:
        """The newest state of what is there."""
        return self._answers.get(key) or self._store.get(key)

    def keys(self) -> set[Key]:
        return self._store.keys() | self._answers.keys()

    def unconfirmed(self) -> list[AIJob]:
        """What only own writes tell of."""
        return [job for key, job in self._answers.items() if key not in self._store]

    def waiting(self) -> dict[QueuePlace, list[Rank]]:
        """The AIJobs that wait for a place, by queue."""
        return {place: list(ranks.values()) for place, ranks in self._waiting.items() if ranks}

    def take(self, most: int) -> tuple[list[Key], list[AIJob]]:
        """Some that have changed, and some that are gone; put back with `touch` and `lose` what could not be done."""
        keys = [key for key, _ in zip(self._changed, range(most), strict=False)]
        for key in keys:
            del self._changed[key]
        uids = [uid for uid, _ in zip(self._gone, range(most), strict=False)]
        gone = [self._gone.pop(uid) for uid in uids]
        if not self._changed and not self._gone:
            self._news.clear()
        return keys, gone

    def pending(self) -> int:
        """How many are still to be compared."""
        return len(self._changed) + len(self._gone)

    async def news(self) -> None:
        """Returns when there is something to take."""
        await self._news.wait()

    def _note(self, key: Key) -> None:
        self._recount(key)
        self.touch(key)

    def _recount(self, key: Key) -> None:
        before = self._queue_of.pop(key, None)
        if before is not None:
            self._waiting[before].pop(key, None)
            if not self._waiting[before]:
                del self._waiting[before]
        job = self.known(key)
        if job is not None and _waits(job):
            place = (job.metadata.namespace, job.spec.queue)
            self._queue_of[key] = place
            self._waiting.setdefault(place, {})[key] = Rank(-self._priority_of(job), order_text(job.metadata))


def _waits(job: AIJob) -> bool:
    return phase_meant(job) is JobPhase.QUEUED and not spec_is_for_pools(job)


def _key(job: AIJob) -> Key:
    return job.metadata.namespace, job.metadata.name


def _is_older(job: AIJob, other: AIJob) -> bool:
    """Resource versions of one resource are ordered numbers, as the API server has promised since 1.35."""
    mine, yours = job.metadata.resource_version, other.metadata.resource_version
    return mine.isdigit() and yours.isdigit() and int(mine) < int(yours)
