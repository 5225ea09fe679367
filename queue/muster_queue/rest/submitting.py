"""POST of one job: the hot route, plain ASGI from the first byte to the last."""

from __future__ import annotations

from typing import Final

from muster_kube.serve import Receive, Send
from muster_queue.rest.answers import answer_job, encode, etag
from muster_queue.rest.conditions import idempotency_key, keyed
from muster_queue.rest.door import entry_of
from muster_queue.rest.identifiers import default_name, new_job_id
from muster_queue.rest.operations import create_in
from muster_queue.rest.problems import AWAY_SECONDS, Kind, ProblemError, retry_after
from muster_queue.rest.service import IdempotencyKey, JobService, Submission, Submitted
from muster_queue.rest.service_errors import OutcomeUnknown, ServiceError
from muster_queue.rest.submissions import ReadJob, read_job
from muster_queue.rest.wire import LARGEST_JOB, Scope, answer, read_body, require_json, trace_of

REPLAYED: Final = (b"idempotent-replayed", b"true")


class SubmitOne:
    """Reads, asks, submits, answers 201 once the job is durable."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_json(scope)
        key = idempotency_key(scope)
        read = read_job(await read_body(scope, receive, LARGEST_JOB))
        entry = entry_of(scope)
        namespace = read.request.namespace or entry.caller.namespace
        await entry.require(create_in(namespace))
        submission = to_submission(read, namespace, trace_of(scope))
        wanted = None if key is None else keyed(key, (namespace, read.request))
        submitted = await self._submit(submission, entry.caller.name, wanted)
        headers = [
            (b"location", f"/api/v1/jobs/{submitted.job.job_id}".encode()),
            (b"etag", etag(submitted.job).encode()),
        ]
        if submitted.replayed:
            headers.append(REPLAYED)
        await answer(send, 201, encode(answer_job(submitted.job)), headers=headers)

    async def _submit(self, submission: Submission, actor: str, key: IdempotencyKey | None) -> Submitted:
        try:
            return await self._service.submit(submission, actor, key)
        except OutcomeUnknown:
            # The id is ours, so the store can be asked whether it has it.
            try:
                return Submitted(job=await self._service.find(submission.job_id))
            except ServiceError:
                raise unknown_outcome(submission.job_id) from None


def unknown_outcome(job_id: str) -> ProblemError:
    detail = f"it may have been taken; ask for job {job_id} before sending it again, or send an Idempotency-Key"
    return ProblemError(Kind.UNKNOWN, detail, headers=retry_after(AWAY_SECONDS), job_id=job_id)


def to_submission(read: ReadJob, namespace: str, trace: str | None = None) -> Submission:
    """With an id and a name."""
    job_id = new_job_id()
    request = read.request
    return Submission(
        job_id=job_id,
        namespace=namespace,
        name=request.name or default_name(job_id),
        is_named=request.name is not None,
        spec=read.spec,
        labels=request.labels,
        trace=trace,
    )
