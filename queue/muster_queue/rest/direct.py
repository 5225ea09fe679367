"""The short way of POST of one job: what is plain is taken at once, without a coroutine, and answered from the commit.

Everything else goes the ordinary way through the door, from its beginning: whoever is not known yet, may not, sends a
key or a header that matters, or a job with anything wrong about it. So there is one place that says what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from muster_kube.http_protocol import DirectCall, DirectHandler
from muster_kube.serve import JSON_TYPE
from muster_queue.identity.access import Access
from muster_queue.identity.bearer import LARGEST_TOKEN
from muster_queue.identity.caller import Caller
from muster_queue.rest.answers import answer_job, encode, etag
from muster_queue.rest.metrics import RestMetrics
from muster_queue.rest.operations import create_in
from muster_queue.rest.problems import PROBLEM_TYPE, ProblemError, problem_of
from muster_queue.rest.service import JobService, Outcome, Submission, Submitted
from muster_queue.rest.service_errors import OutcomeUnknown, ServiceError
from muster_queue.rest.submissions import read_job
from muster_queue.rest.submitting import to_submission, unknown_outcome
from muster_queue.rest.wire import Headers, standing_headers

log = structlog.get_logger(__name__)

OPERATION: Final = "submit_job"
_BEARER: Final = b"Bearer "
_LARGEST_HEADER: Final = 1 << 10
_MOST_HEADERS: Final = 12
_IRRELEVANT: Final = frozenset(
    (b"host", b"user-agent", b"accept", b"accept-encoding", b"content-length", b"connection")
)
"""Headers that change nothing about a submission. Any other, and each of these that is long, is read at the door."""


class Memory(Protocol):
    """What the door's gate remembers, and can tell without waiting; identity.gatekeeper has one."""

    def known(self, token: bytes) -> Caller | None: ...

    def is_known(self, caller: Caller, access: Access) -> bool: ...


class DirectSubmission:
    """Takes a submission that needs to wait for nothing but its commit."""

    def __init__(self, service: JobService, memory: Memory, metrics: RestMetrics) -> None:
        self._service = service
        self._memory = memory
        self._metrics = metrics

    def __call__(self, call: DirectCall) -> bool:
        begun = time.perf_counter()
        token = plain_token(call.headers)
        caller = None if token is None else self._memory.known(token)
        if caller is None:
            return False
        try:
            read = read_job(call.body)
            namespace = read.request.namespace or caller.namespace
            if not self._memory.is_known(caller, create_in(namespace)):
                return False
            submission = to_submission(read, namespace)
            return self._service.begin(submission, caller.name, partial(self._answer, call, submission, begun))
        except (ProblemError, ServiceError):
            return False

    def _answer(self, call: DirectCall, submission: Submission, begun: float, outcome: Outcome) -> None:
        try:
            status, headers, body = _rendered(submission, outcome)
        except Exception:
            log.exception("answer cannot be written", job=submission.job_id)
            status, headers, body = _rendered(submission, OutcomeUnknown("the answer cannot be written"))
        self._metrics.count(OPERATION, status, time.perf_counter() - begun)
        call.answer(status, headers, body)


def direct_handlers(service: JobService, memory: Memory, metrics: RestMetrics) -> Mapping[bytes, DirectHandler]:
    """By path, with and without the slash at its end."""
    submission = DirectSubmission(service, memory, metrics)
    return {b"/api/v1/jobs/": submission, b"/api/v1/jobs": submission}


def plain_token(headers: Headers) -> bytes | None:
    """The bearer token of a request that has nothing out of the ordinary about it."""
    if len(headers) > _MOST_HEADERS:
        return None
    token = media = None
    for name, value in headers:
        if name == b"authorization" and token is None:
            token = value
        elif name == b"content-type" and media is None:
            media = value
        elif name not in _IRRELEVANT or len(value) > _LARGEST_HEADER:
            return None
    if media != JSON_TYPE or token is None or not token.startswith(_BEARER) or len(token) > LARGEST_TOKEN:
        return None
    return token[len(_BEARER) :]


def _rendered(submission: Submission, outcome: Outcome) -> tuple[int, Headers, bytes]:
    if isinstance(outcome, Submitted):
        body = encode(answer_job(outcome.job))
        location = (b"location", f"/api/v1/jobs/{outcome.job.job_id}".encode())
        return 201, (*standing_headers(body), location, (b"etag", etag(outcome.job).encode())), body
    is_unknown = isinstance(outcome, OutcomeUnknown)
    problem = unknown_outcome(submission.job_id) if is_unknown else problem_of(outcome)
    body = msgspec.json.encode(problem.problem)
    return problem.kind.status, (*standing_headers(body, PROBLEM_TYPE), *problem.headers), body
