"""The table of all that the api answers, and what each of it needs: the door and the documents read only this."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from muster_queue.identity.access import Access
from muster_queue.rest.answers import BulkAnswer, JobAnswer, JobDetailsAnswer, ListAnswer
from muster_queue.rest.job_types import JobRequest, Priority, RequestStruct
from muster_queue.rest.pool_service import (
    AcknowledgeAnswer,
    AcknowledgeRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    LeaseRequest,
    LeasesAnswer,
)
from muster_queue.rest.queries import (
    AuditQuery,
    JobsQuery,
    LogsQuery,
    NamespaceQuery,
    NoQuery,
    PageQuery,
    Query,
)
from muster_queue.rest.service import (
    AuditAnswer,
    AuditVerdictAnswer,
    ClusterAnswer,
    EventAnswer,
    QueueAnswer,
    WhyAnswer,
)

JOB_PARAMETER: Final = "{job_id}"
POOL_PATH: Final = "/api/v1/pools/{namespace}/{queue}"
CREATE: Final = Access(verb="create", resource="aijobs")


@lru_cache(maxsize=1024)
def create_in(namespace: str) -> Access:
    """The right that each job needs where it is to land."""
    return msgspec.structs.replace(CREATE, namespace=namespace)


class Extent(StrEnum):
    """Where the namespace comes from in which the caller needs the right."""

    PUBLIC = "nobody is asked"
    PATH = "the path itself, as a non-resource URL"
    BODY = "each job in the body"
    QUERY = "the query's namespace, else all namespaces"
    JOB = "the job in the path"
    POOL = "the path"
    CLUSTER = "no namespace: the whole cluster"


class PriorityRequest(RequestStruct, frozen=True, kw_only=True):
    """What can be changed of a job that waits."""

    priority: Priority


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path."""

    name: str
    method: str
    path: str
    extent: Extent
    need: Access | None = None
    summary: str
    query: type[Query] = NoQuery
    body: Any = None
    answer: Any = None
    status: int = 200
    media: str = "application/json"
    conditional: bool = False
    """Whether If-Match is honoured."""


def _job(name: str, method: str, tail: str, need: Access, summary: str, **more: Any) -> Operation:
    path = f"/api/v1/jobs/{JOB_PARAMETER}{tail}"
    return Operation(name=name, method=method, path=path, extent=Extent.JOB, need=need, summary=summary, **more)


_GET: Final = Access(verb="get", resource="aijobs")
_LIST: Final = Access(verb="list", resource="aijobs")
_PATCH: Final = Access(verb="patch", resource="aijobs")
_DELETE: Final = Access(verb="delete", resource="aijobs")
_LOGS: Final = Access(verb="get", group="", resource="pods", subresource="log")
_LIST_QUEUES: Final = Access(verb="list", resource="aijobqueues")
_LIST_CLUSTERS: Final = Access(verb="list", resource="computeclusters")
_LIST_AUDIT: Final = Access(verb="list", resource="audit")
_GET_AUDIT: Final = Access(verb="get", resource="audit")
_LEASE: Final = Access(verb="update", resource="aijobs", subresource="lease")
_METRICS: Final = Access(verb="get", path="/metrics")

_SUBMISSION: Final = (
    Operation(
        name="submit_job",
        method="POST",
        path="/api/v1/jobs/",
        extent=Extent.BODY,
        need=CREATE,
        summary="Submit a job. It is durable once this is answered.",
        body=JobRequest,
        answer=JobAnswer,
        status=201,
    ),
    Operation(
        name="submit_jobs",
        method="POST",
        path="/api/v1/jobs/bulk",
        extent=Extent.BODY,
        need=CREATE,
        summary="Submit many jobs, as a JSON array or as lines of JSON. Each is taken or refused by itself.",
        body=list[JobRequest],
        answer=BulkAnswer,
        status=201,
    ),
)
_JOBS: Final = (
    Operation(
        name="list_jobs",
        method="GET",
        path="/api/v1/jobs/",
        extent=Extent.QUERY,
        need=_LIST,
        summary="List jobs, the newest first.",
        query=JobsQuery,
        answer=ListAnswer[JobAnswer],
    ),
    _job("get_job", "GET", "", _GET, "Read a job.", answer=JobDetailsAnswer),
    _job("cancel_job", "DELETE", "", _DELETE, "Cancel a job for good.", answer=JobAnswer, conditional=True),
    _job(
        "change_job",
        "PATCH",
        "",
        _PATCH,
        "Change a waiting job's priority.",
        body=PriorityRequest,
        answer=JobAnswer,
        conditional=True,
    ),
    _job("retry_job", "POST", "/retry", _PATCH, "Begin an ended job anew.", answer=JobAnswer, conditional=True),
    _job("hold_job", "POST", "/hold", _PATCH, "Hold a job back.", answer=JobAnswer, conditional=True),
    _job("release_job", "POST", "/release", _PATCH, "Let a held job go on.", answer=JobAnswer, conditional=True),
    _job(
        "job_events",
        "GET",
        "/events",
        _GET,
        "A job's history; as a stream of what happens with `Accept: text/event-stream`.",
        query=PageQuery,
        answer=ListAnswer[EventAnswer],
    ),
    _job("job_logs", "GET", "/logs", _LOGS, "What a member wrote.", query=LogsQuery, media="text/plain"),
    _job("why", "GET", "/why", _GET, "Why a job is where it is.", answer=WhyAnswer),
)
_POOLS: Final = (
    Operation(
        name="lease_jobs",
        method="POST",
        path=f"{POOL_PATH}/lease",
        extent=Extent.POOL,
        need=_LEASE,
        summary="Lease the best waiting jobs of a pool to a worker; waits for the first, if asked to.",
        body=LeaseRequest,
        answer=LeasesAnswer,
    ),
    Operation(
        name="heartbeat_jobs",
        method="POST",
        path=f"{POOL_PATH}/heartbeat",
        extent=Extent.POOL,
        need=_LEASE,
        summary="Keep leases, with the progress made; tells which of them are lost.",
        body=HeartbeatRequest,
        answer=HeartbeatAnswer,
    ),
    Operation(
        name="acknowledge_jobs",
        method="POST",
        path=f"{POOL_PATH}/acknowledge",
        extent=Extent.POOL,
        need=_LEASE,
        summary="End leased attempts: done with a result, failed, or given back.",
        body=AcknowledgeRequest,
        answer=AcknowledgeAnswer,
    ),
)
_AROUND: Final = (
    Operation(
        name="list_queues",
        method="GET",
        path="/api/v1/queues",
        extent=Extent.QUERY,
        need=_LIST_QUEUES,
        summary="List queues with what waits and runs in them.",
        query=NamespaceQuery,
        answer=ListAnswer[QueueAnswer],
    ),
    Operation(
        name="list_clusters",
        method="GET",
        path="/api/v1/clusters",
        extent=Extent.CLUSTER,
        need=_LIST_CLUSTERS,
        summary="List compute clusters.",
        query=PageQuery,
        answer=ListAnswer[ClusterAnswer],
    ),
    Operation(
        name="list_dead_letters",
        method="GET",
        path="/api/v1/dead-letters",
        extent=Extent.QUERY,
        need=_LIST,
        summary="List the jobs whose retries are exhausted.",
        query=NamespaceQuery,
        answer=ListAnswer[JobAnswer],
    ),
    Operation(
        name="requeue_dead_letter",
        method="POST",
        path=f"/api/v1/dead-letters/{JOB_PARAMETER}/requeue",
        extent=Extent.JOB,
        need=_PATCH,
        summary="Begin a dead letter anew, with all its retries.",
        answer=JobAnswer,
        conditional=True,
    ),
    Operation(
        name="drop_dead_letter",
        method="DELETE",
        path=f"/api/v1/dead-letters/{JOB_PARAMETER}",
        extent=Extent.JOB,
        need=_DELETE,
        summary="Take a dead letter off the list.",
        answer=JobAnswer,
        conditional=True,
    ),
    Operation(
        name="list_audit",
        method="GET",
        path="/api/v1/audit",
        extent=Extent.QUERY,
        need=_LIST_AUDIT,
        summary="Who did what, the oldest first.",
        query=AuditQuery,
        answer=ListAnswer[AuditAnswer],
    ),
    Operation(
        name="verify_audit",
        method="GET",
        path="/api/v1/audit/verify",
        extent=Extent.CLUSTER,
        need=_GET_AUDIT,
        summary="Recompute the audit log's chain of hashes.",
        answer=AuditVerdictAnswer,
    ),
)
_PROCESS: Final = (
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        extent=Extent.PUBLIC,
        summary="This description of the api.",
        answer=dict[str, Any],
    ),
    Operation(
        name="docs", method="GET", path="/docs", extent=Extent.PUBLIC, summary="The same as a page.", media="text/html"
    ),
    Operation(
        name="healthz",
        method="GET",
        path="/healthz",
        extent=Extent.PUBLIC,
        summary="Whether the process lives.",
        media="text/plain",
    ),
    Operation(
        name="readyz",
        method="GET",
        path="/readyz",
        extent=Extent.PUBLIC,
        summary="Whether it can do its work; what is missing, if not.",
        media="text/plain",
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        extent=Extent.PATH,
        need=_METRICS,
        summary="Metrics for Prometheus.",
        media="text/plain",
    ),
)
OPERATIONS: Final[Sequence[Operation]] = (*_SUBMISSION, *_JOBS, *_POOLS, *_AROUND, *_PROCESS)
