"""A Truth that a test writes down itself, instead of Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from muster_queue.index.keys import QueueKey
from muster_queue.index.truth import Tally
from muster_queue.index.values import Entry, Held


class WrittenTruth:
    """The jobs that belong into the index, told in pages."""

    def __init__(self, page: int = 500) -> None:
        self.jobs: dict[QueueKey, dict[str, Entry | Held]] = {}
        self.after_page: Callable[[], None] = lambda: None
        """Called after each page: for a fault in the middle of a rebuild."""
        self._page = page

    def put(self, queue: QueueKey, *jobs: Entry | Held) -> None:
        self.jobs.setdefault(queue, {}).update({job.job: job for job in jobs})

    def drop(self, queue: QueueKey, *jobs: str) -> None:
        for job in jobs:
            del self.jobs[queue][job]

    async def queues(self) -> AsyncIterator[Tally]:
        for queue, jobs in list(self.jobs.items()):
            waiting = sum(isinstance(job, Entry) for job in jobs.values())
            yield Tally(queue, waiting, len(jobs) - waiting)

    async def pages(self, queue: QueueKey) -> AsyncIterator[Sequence[Entry | Held]]:
        jobs = list(self.jobs[queue].values())
        for start in range(0, len(jobs), self._page):
            yield jobs[start : start + self._page]
            self.after_page()

    async def among(self, queue: QueueKey, jobs: Sequence[str]) -> Mapping[str, Entry | Held]:
        return {job: self.jobs[queue][job] for job in jobs if job in self.jobs[queue]}
