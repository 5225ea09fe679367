"""Submissions on their way to the commit: limits first, then intake, then the answer without reading anything back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from muster_queue.intake.errors import Overloaded as IntakeOverloaded
from muster_queue.intake.intake import Intake
from muster_queue.intake.receipts import Receipt
from muster_queue.rest.service import IdempotencyKey, Outcome, Submission, SubmissionListener, Submitted
from muster_queue.rest.service_errors import NameTaken, OutcomeUnknown, StorageAway
from muster_queue.service.counting import QueueCounts
from muster_queue.service.errors import in_words_of_the_api, service_error
from muster_queue.service.limits import TenantLimits
from muster_queue.service.records import first_record, new_job, submitted_record
from muster_queue.storage import errors as storage
from muster_queue.storage.errors import StorageError
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import NewJob, Request, RequestKey

log = structlog.get_logger(__name__)

PriorityOf = Callable[[str, str], int]
"""What a job gets that names no priority itself, by namespace and queue."""
_LOST: Final = "a job was stored and cannot be read"


class Submitter:
    """One for each process."""

    def __init__(
        self, intake: Intake, jobs: Jobs, limits: TenantLimits, counts: QueueCounts, priority_of: PriorityOf
    ) -> None:
        self._intake = intake
        self._jobs = jobs
        self._limits = limits
        self._counts = counts
        self._priority_of = priority_of

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        """The hot path: nothing here waits but for the commit."""
        if not self._limits.admit_at_once(job.namespace, 1):
            await self._limits.admit(job.namespace, 1)
        new = self._new(job, actor)
        request = Request(jobs=(new,), key=_request_key(key, actor))
        try:
            receipt = await self._intake.submit(request)
        except (StorageError, IntakeOverloaded) as error:
            raise service_error(error) from error
        if receipt.is_replay or receipt.committed_at is None:
            return await self._replayed(receipt.job_ids[0])
        self._counts.note(job.namespace, 1)
        return Submitted(job=submitted_record(receipt.jobs[0], job.spec, receipt.committed_at))

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool:
        """The same for a sender who is called with the outcome; False where something has to be waited for before."""
        if not self._limits.admit_at_once(job.namespace, 1):
            return False

        def hear(outcome: Receipt | Exception) -> None:
            listener(self._surely(job, outcome))

        try:
            self._intake.begin(Request(jobs=(self._new(job, actor),)), hear)
        except (StorageError, IntakeOverloaded) as error:
            raise service_error(error) from error
        return True

    def _surely(self, job: Submission, outcome: Receipt | Exception) -> Outcome:
        """There is no caller here to whom a mistake of ours could be raised, and a sender who waits."""
        try:
            return self._outcome(job, outcome)
        except Exception:
            log.exception("the outcome of a submission cannot be told", job=job.job_id)
            return OutcomeUnknown(_LOST)

    def _outcome(self, job: Submission, outcome: Receipt | Exception) -> Outcome:
        match outcome:
            case Receipt(committed_at=datetime() as committed_at, jobs=(stored, *_)):
                self._counts.note(job.namespace, 1)
                return Submitted(job=submitted_record(stored, job.spec, committed_at))
            case StorageError():
                return service_error(outcome)
            case _:
                log.error("a submission could not be followed to its end", outcome=repr(outcome))
                return OutcomeUnknown(_LOST)

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]:
        """One request, so one commit; without a key each job stands for itself."""
        for namespace, count in Counter([job.namespace for job in jobs]).items():
            if not self._limits.admit_at_once(namespace, count):
                await self._limits.admit(namespace, count)
        new = tuple(self._new(job, actor) for job in jobs)
        try:
            receipt = await self._intake.submit(Request(jobs=new, key=_request_key(key, actor)))
        except storage.NameTaken as error:
            # With a key the jobs of a request are taken together or not at all.
            return [NameTaken(str(error))] * len(jobs)
        except (StorageError, IntakeOverloaded) as error:
            raise service_error(error) from error
        if receipt.is_replay:
            return await self._all_replayed(receipt.job_ids)
        return self._outcomes(jobs, new, receipt)

    def _new(self, job: Submission, actor: str) -> NewJob:
        given = job.spec.priority
        return new_job(job, actor, self._priority_of(job.namespace, job.spec.queue) if given is None else given)

    async def _replayed(self, job_id: UUID) -> Submitted:
        with in_words_of_the_api():
            return Submitted(job=first_record(await self._jobs.get(job_id)), replayed=True)

    async def _all_replayed(self, job_ids: Sequence[UUID]) -> list[Outcome]:
        with in_words_of_the_api():
            found = await self._jobs.find(job_ids)
        lost = StorageAway(_LOST)
        return [
            Submitted(job=first_record(found[job_id]), replayed=True) if job_id in found else lost for job_id in job_ids
        ]

    def _outcomes(self, jobs: Sequence[Submission], new: Sequence[NewJob], receipt: Receipt) -> list[Outcome]:
        """In the order of the jobs; the receipt leaves out those that were refused."""
        for namespace, count in Counter([job.namespace for job in receipt.jobs]).items():
            self._counts.note(namespace, count)
        stored, committed_at, refused = iter(receipt.jobs), receipt.committed_at, receipt.refused
        if committed_at is None:
            return [StorageAway(_LOST)] * len(jobs)
        return [
            service_error(refused[asked.id])
            if refused and asked.id in refused
            else Submitted(job=submitted_record(next(stored), job.spec, committed_at))
            for job, asked in zip(jobs, new, strict=True)
        ]


def _request_key(key: IdempotencyKey | None, actor: str) -> RequestKey | None:
    """Whose key it is: the same word of two users means two requests, and neither learns of the other's."""
    return None if key is None else RequestKey(tenant=actor, key=key.key, fingerprint=key.fingerprint)
