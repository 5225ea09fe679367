"""What there is around the jobs: queues, clusters, dead letters, the audit log."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from muster_queue.rest.answers import answer_job
from muster_queue.rest.job_handlers import query_of
from muster_queue.rest.queries import AuditQuery, NamespaceQuery, PageQuery, page_request
from muster_queue.rest.responses import Handler, say, say_page
from muster_queue.rest.service import AuditFilter, JobFilter, JobService


class AroundHandlers:
    """One method for each operation on what is not a job."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def by_name(self) -> Mapping[str, Handler]:
        return {
            "list_queues": self.queues,
            "list_clusters": self.clusters,
            "list_dead_letters": self.dead_letters,
            "list_audit": self.audit,
            "verify_audit": self.verify_audit,
        }

    async def queues(self, request: Request) -> Response:
        query = query_of(request, NamespaceQuery)
        page = await self._service.queues(query.namespace or "", page_request(query))
        return say_page(query, page, page.items)

    async def clusters(self, request: Request) -> Response:
        query = query_of(request, PageQuery)
        page = await self._service.clusters(page_request(query))
        return say_page(query, page, page.items)

    async def dead_letters(self, request: Request) -> Response:
        query = query_of(request, NamespaceQuery)
        page = await self._service.dead_letters(JobFilter(namespace=query.namespace or ""), page_request(query))
        return say_page(query, page, [answer_job(job) for job in page.items])

    async def audit(self, request: Request) -> Response:
        query = query_of(request, AuditQuery)
        chosen = AuditFilter(
            namespace=query.namespace or "",
            job_id=query.job_id or "",
            actor=query.actor or "",
            after=query.after,
            before=query.before,
        )
        page = await self._service.audit(chosen, page_request(query))
        return say_page(query, page, page.items)

    async def verify_audit(self, request: Request) -> Response:
        return say(await self._service.verify_audit())
