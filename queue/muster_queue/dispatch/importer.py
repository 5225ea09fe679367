"""Gives the AIJobs that were made with kubectl a row, so that REST shows them and their history is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from muster_api.jobs import AIJob
from muster_queue.dispatch.rendering import row_of
from muster_queue.jobs.ordering import job_id_of
from muster_queue.storage.errors import Unstorable
from muster_queue.storage.records import NewJob, Request
from muster_queue.storage.submissions import Submissions

log = structlog.get_logger(__name__)


class Importer:
    """An AIJob is always imported as the same job: doing it again does nothing."""

    def __init__(self, submissions: Submissions, priority_of: Callable[[AIJob], int]) -> None:
        self._submissions = submissions
        self._priority_of = priority_of

    async def store(self, jobs: Sequence[AIJob]) -> list[AIJob]:
        """Answers with those that could not be stored now; the others have a row."""
        if not jobs:
            return []
        try:
            stored = await self._submissions.store([self._request(job) for job in jobs], is_careful=True)
        except Unstorable as error:
            return await self._one_by_one(jobs, error)
        left = [job for job in jobs if job_id_of(job.metadata) in stored.taken]
        for job in left:
            log.info("name is taken by another job", namespace=job.metadata.namespace, job=job.metadata.name)
        return left

    async def _one_by_one(self, jobs: Sequence[AIJob], error: Unstorable) -> list[AIJob]:
        """One that the database does not take must not stop the others."""
        if len(jobs) == 1:
            metadata = jobs[0].metadata
            log.error("job cannot be stored", namespace=metadata.namespace, job=metadata.name, error=str(error))
            return list(jobs)
        return [left for job in jobs for left in await self.store([job])]

    def _request(self, job: AIJob) -> Request:
        row: NewJob = row_of(job, self._priority_of(job))
        return Request(jobs=(row,))
