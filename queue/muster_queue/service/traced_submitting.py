"""A span around each submission, from where it was allowed to its commit; the job goes on with its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from muster_kube.tracing import Attributes, Span, Tracer, over
from muster_queue.rest.service import IdempotencyKey, Outcome, Submission, SubmissionListener, Submitted
from muster_queue.rest.service_errors import ServiceError

ONE: Final = "submit job"
MANY: Final = "submit jobs"


class TakesSubmissions(Protocol):
    """The part of JobService that jobs come in by."""

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted: ...

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool: ...

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]: ...


def traced(submitter: TakesSubmissions, tracer: Tracer) -> TakesSubmissions:
    """The submitter itself where nobody traces: then nothing stands in its way."""
    return TracedSubmitter(submitter, tracer) if tracer.is_on else submitter


class TracedSubmitter:
    """A job without a trace gets one here, so that all that follows has a parent."""

    def __init__(self, submitter: TakesSubmissions, tracer: Tracer) -> None:
        self._submitter = submitter
        self._tracer = tracer

    async def submit(self, job: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        span = self._begin(job)
        with over(span):
            return await self._submitter.submit(_within(span, job), actor, key)

    def begin(self, job: Submission, actor: str, listener: SubmissionListener) -> bool:
        span = self._begin(job)

        def hear(outcome: Outcome) -> None:
            span.end(type(outcome).__name__ if isinstance(outcome, ServiceError) else "")
            listener(outcome)

        # What is not begun comes again by the other way: this span is never ended, and so never sent.
        return self._submitter.begin(_within(span, job), actor, hear)

    async def submit_many(
        self, jobs: Sequence[Submission], actor: str, key: IdempotencyKey | None
    ) -> Sequence[Outcome]:
        """One span for all: they have come in one request, and go into one commit."""
        if not jobs:
            return await self._submitter.submit_many(jobs, actor, key)
        attributes: Attributes = {"muster.namespace": jobs[0].namespace, "muster.jobs": len(jobs)}
        span = self._tracer.begin(MANY, jobs[0].trace, attributes)
        with over(span):
            return await self._submitter.submit_many([_within(span, job) for job in jobs], actor, key)

    def _begin(self, job: Submission) -> Span:
        attributes = {"muster.namespace": job.namespace, "muster.job": job.name, "muster.job_id": job.job_id}
        return self._tracer.begin(ONE, job.trace, attributes)


def _within(span: Span, job: Submission) -> Submission:
    return job if span.context is None else replace(job, trace=span.context)
