"""POST of many jobs: each is taken or refused by itself, in batches, while the rest still arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from muster_api.field_errors import FieldError
from muster_kube.pacing import Pacer
from muster_kube.serve import JSON_TYPE, Receive, Send
from muster_queue.rest.answers import BulkAnswer, BulkItem, encode
from muster_queue.rest.bulk_reading import NDJSON, Items, elements, lines
from muster_queue.rest.conditions import idempotency_key, keyed
from muster_queue.rest.door import Entry, entry_of
from muster_queue.rest.job_types import JobRequest
from muster_queue.rest.operations import create_in
from muster_queue.rest.problems import Kind, ProblemError, problem_of
from muster_queue.rest.service import JobService, Outcome, Submission
from muster_queue.rest.service_errors import OutcomeUnknown, Overloaded, ServiceError
from muster_queue.rest.submissions import read_job
from muster_queue.rest.submitting import to_submission, unknown_outcome
from muster_queue.rest.wire import Scope, answer, require_json, stream_body, trace_of

LARGEST_BULK: Final = 32 << 20
MOST_JOBS: Final = 100_000
MOST_AT_ONCE: Final = 8
MOST_NAMESPACES: Final = 100
"""For each of them the API server is asked whether its author may."""
BATCH: Final = 500
"""Jobs that are submitted together; always as many, so that a bulk that is sent again meets the keys of its parts."""


class SubmitMany:
    """Reads and submits in turns; nothing of a bulk is kept but what has to be answered."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        media = require_json(scope, (JSON_TYPE, NDJSON))
        if self._under_way >= MOST_AT_ONCE:
            raise problem_of(Overloaded(1.0, "too many bulks are under way"))
        self._under_way += 1
        try:
            bulk = _Bulk(self._service, entry_of(scope), idempotency_key(scope), trace_of(scope))
            chunks = stream_body(scope, receive, LARGEST_BULK)
            await bulk.take(elements(chunks) if media == JSON_TYPE else lines(chunks))
        finally:
            self._under_way -= 1
        result = bulk.result()
        await answer(send, _status(result), encode(result))


class _Bulk:
    """One bulk on its way in."""

    def __init__(self, service: JobService, entry: Entry, key: str | None, trace: str | None) -> None:
        self._service = service
        self._entry = entry
        self._key = key
        self._trace = trace
        self._items: list[BulkItem] = []
        self._waiting: Items = []
        self._namespaces: set[str] = set()
        self._parts = 0
        self._accepted = 0
        self._stopped_at: int | None = None
        self._pacer = Pacer()
        self._allowed: set[str] = set()

    def result(self) -> BulkAnswer:
        refused = len(self._items) - self._accepted
        return BulkAnswer(accepted=self._accepted, refused=refused, items=self._items, stopped_at=self._stopped_at)

    async def take(self, pieces: AsyncIterator[Items]) -> None:
        """All of it, or up to where it could not go on; raises a problem only where nothing was submitted."""
        try:
            async for piece in pieces:
                self._waiting += piece
                while len(self._waiting) >= BATCH:
                    await self._take_batch()
                if len(self._items) + len(self._waiting) > MOST_JOBS:
                    raise ProblemError(Kind.TOO_LARGE, f"at most {MOST_JOBS} jobs are read of one bulk")
            while self._waiting:
                await self._take_batch()
            if not self._items:
                raise ProblemError(Kind.INVALID, "send at least one job", [FieldError("object", "write a job")])
        except (ProblemError, ServiceError) as error:
            if not self._accepted:
                raise
            self._stop(error if isinstance(error, ProblemError) else problem_of(error))

    def _stop(self, problem: ProblemError) -> None:
        self._stopped_at = len(self._items)
        self._items.append(BulkItem(index=len(self._items), status=problem.kind.status, problem=problem.problem))

    async def _take_batch(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        first = len(self._items)
        self._allowed.clear()
        results: list[BulkItem | None] = []
        submissions: list[Submission] = []
        requests: list[JobRequest] = []
        for offset, raw in enumerate(batch):
            try:
                read = read_job(raw)
                namespace = read.request.namespace or self._entry.caller.namespace
                if namespace not in self._allowed:
                    await self._require(namespace)
            except ProblemError as error:
                results.append(_refused(first + offset, error))
            else:
                results.append(None)
                submissions.append(to_submission(read, namespace, self._trace))
                requests.append(read.request)
            if self._pacer.is_due():
                await self._pacer.rest()
        outcomes = iter(await self._submit(submissions, requests))
        named = iter(submissions)
        for offset, result in enumerate(results):
            index = first + offset
            self._items.append(result or self._told(index, next(named), next(outcomes)))

    async def _require(self, namespace: str) -> None:
        """Asks once a batch for each namespace: a long bulk may outlive a right."""
        self._namespaces.add(namespace)
        if len(self._namespaces) > MOST_NAMESPACES:
            self._namespaces.discard(namespace)
            errors = [FieldError("namespace", "is one too many; send its jobs in another bulk")]
            raise ProblemError(Kind.CONTRADICTORY, f"a bulk is for at most {MOST_NAMESPACES} namespaces", errors)
        await self._entry.require(create_in(namespace))
        self._allowed.add(namespace)

    async def _submit(self, submissions: Sequence[Submission], requests: Sequence[JobRequest]) -> Sequence[Outcome]:
        part, self._parts = self._parts, self._parts + 1
        if not submissions:
            return ()
        key = None
        if self._key is not None:
            places = (submission.namespace for submission in submissions)
            key = keyed(self._key, *zip(places, requests, strict=True), part=part)
        try:
            return await self._service.submit_many(submissions, self._entry.caller.name, key)
        except OutcomeUnknown as unknown:
            return [unknown] * len(submissions)

    def _told(self, index: int, submission: Submission, outcome: Outcome) -> BulkItem:
        if isinstance(outcome, OutcomeUnknown):
            return _refused(index, unknown_outcome(submission.job_id))
        if isinstance(outcome, ServiceError):
            return _refused(index, problem_of(outcome))
        self._accepted += 1
        job = outcome.job
        return BulkItem(
            index=index,
            status=201,
            job_id=job.job_id,
            name=job.name,
            namespace=job.namespace,
            replayed=outcome.replayed,
        )


def _status(result: BulkAnswer) -> int:
    """201 where all were taken, 207 where some were, 422 where none was."""
    if not result.accepted:
        return Kind.CONTRADICTORY.status
    return 207 if result.refused else 201


def _refused(index: int, error: ProblemError) -> BulkItem:
    return BulkItem(index=index, status=error.kind.status, problem=error.problem)
