"""Puts the service together: repositories, intake, and the tasks that run as long as the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry

from muster_kube.clock import Clock
from muster_kube.metrics import ReflectorCollector
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.tracing import NO_TRACER, Tracer
from muster_queue.intake.intake import Intake
from muster_queue.intake.settings import IntakeSettings
from muster_queue.service.auditing import Auditor
from muster_queue.service.changing import Changer
from muster_queue.service.counting import QueueCounts
from muster_queue.service.index_feed import Awaken, IndexFeed, nobody_waits
from muster_queue.service.job_service import Parts, QueueService
from muster_queue.service.limits import TenantLimits
from muster_queue.service.live_events import LiveEvents
from muster_queue.service.member_logs import MemberLogs
from muster_queue.service.metrics import ServiceCollector
from muster_queue.service.readiness import DatabaseWatch
from muster_queue.service.reading import Reader
from muster_queue.service.settings import TenantSettings
from muster_queue.service.stores import Stores
from muster_queue.service.submitting import Submitter
from muster_queue.service.surroundings import Surroundings
from muster_queue.service.traced_submitting import traced
from muster_queue.storage.audit import AuditTrail, Verifier
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.moving import Mover
from muster_queue.storage.outbox import Outbox
from muster_queue.storage.submissions import Submissions


class ServiceLimits(Protocol):
    """How much is taken in."""

    @property
    def intake(self) -> IntakeSettings: ...

    @property
    def tenants(self) -> TenantSettings: ...


@asynccontextmanager
async def open_service(
    supervisor: Supervisor,
    stores: Stores,
    session: ApiSession,
    log_session: ApiSession,
    limits: ServiceLimits,
    clock: Clock,
    registry: CollectorRegistry,
    *,
    awaken: Awaken = nobody_waits,
    tracer: Tracer = NO_TRACER,
) -> AsyncIterator[QueueService]:
    """The service, at work. Its tasks are started before whatever is started with it, and so end after that."""
    database = stores.database
    jobs = Jobs(database)
    counts, live = QueueCounts(jobs, clock), LiveEvents(jobs)
    feed = IndexFeed(stores.index, Outbox(database), awaken)
    intake = Intake(Submissions(database), jobs, limits.intake, on_stored=feed.note, clock=clock)
    surroundings, watch = Surroundings(session, counts), DatabaseWatch(database)
    tenants = TenantLimits(stores.buckets, counts, limits.tenants, clock)
    auditor = Auditor(AuditTrail(database), Verifier(database))
    parts = Parts(
        jobs=jobs,
        submitter=traced(Submitter(intake, jobs, tenants, counts, surroundings.priority_of), tracer),
        changer=Changer(jobs, Mover(database)),
        reader=Reader(jobs),
        auditor=auditor,
        live=live,
        logs=MemberLogs(log_session, jobs, live),
        surroundings=surroundings,
    )
    registry.register(ServiceCollector(counts, intake, feed, database.statistics, clock))
    registry.register(ReflectorCollector(surroundings.reflectors))
    supervisor.start("index feed", feed.run())
    supervisor.start("intake", intake.run())
    supervisor.start("live events", live.run())
    supervisor.start("database watch", watch.run())
    supervisor.start("queue counts", counts.run())
    for reflector in surroundings.reflectors:
        supervisor.start(f"reflector {reflector.resource}", reflector.run())
    try:
        yield QueueService(parts, lambda: [*watch.unready(), *surroundings.unready()])
    finally:
        for part in (auditor, counts, tenants):
            await part.close()
