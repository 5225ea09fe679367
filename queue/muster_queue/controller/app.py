"""Composition root of the controller: makes the parts, connects them, and leads whenever elected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from muster_api.gangs import Gang, PlacementTerm
from muster_api.jobs import AIJob, AIJobQueue, ComputeCluster
from muster_api.names import JOB_LABEL, RELEASE_KEY_OBJECT, SLICE_MANAGER, SLICE_MANAGER_LABEL
from muster_api.objects import EndpointSlice, Namespace, Node, Pod, Secret, Service
from muster_kube.clock import Clock, SystemClock
from muster_kube.events import EventRecorder
from muster_kube.lease import LeaderElector, LeaseSettings
from muster_kube.metrics import ReflectorCollector
from muster_kube.probes import Probes
from muster_kube.process import settle_garbage
from muster_kube.reflector import Reflector
from muster_kube.resources import (
    AIJOB_QUEUES,
    AIJOBS,
    COMPUTE_CLUSTERS,
    ENDPOINT_SLICES,
    GANGS,
    NAMESPACES,
    NODES,
    PLACEMENT_TERMS,
    PODS,
    SECRETS,
    SERVICES,
)
from muster_kube.serve import HttpServer
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.tracing import NO_TRACER, Tracer, tracing
from muster_kube.writer import Writer
from muster_queue.controller.census import census_of
from muster_queue.controller.endpoint_publisher import EndpointPublisher
from muster_queue.controller.gang_writer import GangWriter, LostFenceError
from muster_queue.controller.job_performing import JobHands, JobPerformer
from muster_queue.controller.job_writer import JobWriter
from muster_queue.controller.loop import Leader, Rules
from muster_queue.controller.metrics import GangCollector, Metrics
from muster_queue.controller.performing import Hands
from muster_queue.controller.pod_maker import PodMaker
from muster_queue.controller.published import Published
from muster_queue.controller.release_key import ReleaseKey
from muster_queue.controller.reporting import Reporter
from muster_queue.controller.settings import ControllerSettings
from muster_queue.controller.slice_writer import SliceWriter
from muster_queue.controller.takeover import take_over
from muster_queue.controller.ticket_writer import TicketWriter
from muster_queue.controller.world import World
from muster_queue.dispatch.leading import Dispatch, DispatchStores
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.settings import ServiceSettings
from muster_queue.jobs.templates import priority_of

log = structlog.get_logger(__name__)

SERVICE: Final = "muster-controller"
LEASE_NAME: Final = "muster-controller"
OWN_SLICES: Final = f"{SLICE_MANAGER_LABEL}={SLICE_MANAGER}"


@dataclass(frozen=True, slots=True)
class Reflectors:
    """One for each resource that decisions are made from."""

    pods: Reflector[Pod]
    nodes: Reflector[Node]
    gangs: Reflector[Gang]
    namespaces: Reflector[Namespace]
    terms: Reflector[PlacementTerm]
    keys: Reflector[Secret]
    jobs: Reflector[AIJob]
    queues: Reflector[AIJobQueue]
    clusters: Reflector[ComputeCluster]
    services: Reflector[Service]
    slices: Reflector[EndpointSlice]

    @classmethod
    def make(cls, session: ApiSession, namespace: str) -> Reflectors:
        secret = SECRETS.in_namespace(namespace).selecting(fields=f"metadata.name={RELEASE_KEY_OBJECT}")
        return cls(
            pods=Reflector(session, PODS, Pod),
            nodes=Reflector(session, NODES, Node),
            gangs=Reflector(session, GANGS, Gang),
            namespaces=Reflector(session, NAMESPACES, Namespace),
            terms=Reflector(session, PLACEMENT_TERMS, PlacementTerm),
            keys=Reflector(session, secret, Secret),
            jobs=Reflector(session, AIJOBS, AIJob),
            queues=Reflector(session, AIJOB_QUEUES, AIJobQueue),
            clusters=Reflector(session, COMPUTE_CLUSTERS, ComputeCluster),
            services=Reflector(session, SERVICES.selecting(labels=JOB_LABEL), Service),
            slices=Reflector(session, ENDPOINT_SLICES.selecting(labels=OWN_SLICES), EndpointSlice),
        )

    def all(self) -> list[Reflector[Any]]:
        parts: list[Reflector[Any]] = [self.keys, self.namespaces, self.nodes, self.terms, self.queues, self.clusters]
        return [*parts, self.services, self.slices, self.jobs, self.gangs, self.pods]

    def feed(self, world: World, key: ReleaseKey, published: Published) -> None:
        """Everything they hear goes into the world, but what is published about it."""
        self.keys.subscribe(key.see, lambda _, new: key.see(new))
        self.namespaces.subscribe(world.see_namespace, lambda _, new: world.see_namespace(new), world.lose_namespace)
        self.nodes.subscribe(world.see_node, lambda _, new: world.see_node(new), world.lose_node)
        self.terms.subscribe(world.see_fence, lambda _, new: world.see_fence(new))
        self.queues.subscribe(world.see_queue, lambda _, new: world.see_queue(new), world.lose_queue)
        self.clusters.subscribe(world.see_cluster, lambda _, new: world.see_cluster(new), world.lose_cluster)
        self.jobs.subscribe(world.see_job, lambda _, new: world.see_job(new), world.lose_job)
        self.gangs.subscribe(world.see_gang, lambda _, new: world.see_gang(new), world.lose_gang)
        self.pods.subscribe(world.see_pod, lambda _, new: world.see_pod(new), world.lose_pod)
        services, slices = self.services, self.slices
        services.subscribe(published.see_service, lambda _, new: published.see_service(new), published.lose_service)
        slices.subscribe(published.see_slice, lambda _, new: published.see_slice(new), published.lose_slice)

    def unsynced(self) -> list[str]:
        return [f"{reflector.resource} not listed yet" for reflector in self.all() if not reflector.synced.is_set()]

    def oldest(self) -> float:
        """Age of the stalest cache that planning rests on."""
        return max(
            reflector.staleness() for reflector in (self.pods, self.nodes, self.gangs, self.namespaces, self.jobs)
        )


class Controller:
    """A standby until elected, a leader until it loses the Lease or the fence, then a standby again."""

    def __init__(
        self,
        settings: ControllerSettings,
        session: ApiSession,
        lease_session: ApiSession,
        registry: CollectorRegistry,
        clock: Clock,
        stores: DispatchStores | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tracer = tracer
        self._world = World(settings.gpu_resources)
        self._key = ReleaseKey(self._world)
        self._reflectors = Reflectors.make(session, settings.namespace)
        self._published = Published()
        self._reflectors.feed(self._world, self._key, self._published)
        self._metrics = Metrics(registry)
        registry.register(ReflectorCollector(self._reflectors.all()))
        registry.register(GangCollector(lambda: census_of(self._world, clock.now)))
        lease_writer = Writer(lease_session, field_manager="muster-lease")
        self._elector = LeaderElector(lease_writer, self._lease_settings(), clock)
        self._recorder = EventRecorder(Writer(session, concurrency=4), "muster-controller", clock=clock)
        self._slice_writer = SliceWriter(Writer(session, concurrency=8), self._published)
        writer = Writer(session, concurrency=32)
        gangs, reporter = GangWriter(session, writer, self._is_leader), Reporter(self._recorder)
        makers = JobHands(
            jobs=JobWriter(writer, self._is_leader),
            pods=PodMaker(writer, self._key.current, self._is_leader),
        )
        self._hands = Hands(
            world=self._world,
            gangs=gangs,
            tickets=TicketWriter(writer, self._key.current, self._world.see_pod_answer, self._is_leader),
            pods=Writer(session, concurrency=16),
            reporter=reporter,
            metrics=self._metrics,
            clock=clock,
            jobs=JobPerformer(self._world, gangs, makers, reporter, self._metrics, clock),
            tracer=tracer,
        )
        self._probes = Probes(self._unready, registry)
        self._dispatch = self._make_dispatch(stores, session, registry) if stores is not None else None

    def _make_dispatch(self, stores: DispatchStores, session: ApiSession, registry: CollectorRegistry) -> Dispatch:
        catalog = self._world.catalog
        dispatch = Dispatch(
            stores,
            # Of its own: however many jobs come, gangs write beside them.
            Writer(session, concurrency=16),
            self._is_leader,
            lambda job: priority_of(job, catalog.queue_of(job)),
            DispatchMetrics(registry),
            self._clock,
            self._tracer,
        )
        dispatch.feed.subscribe(self._reflectors.jobs)
        return dispatch

    async def run(self, supervisor: Supervisor) -> None:
        """Until the supervisor stops."""
        settings = self._settings
        server = HttpServer(self._probes, settings.listen_host, settings.listen_port)
        supervisor.start("http", server.run())
        for reflector in self._reflectors.all():
            supervisor.start(f"reflector {reflector.resource}", reflector.run())
        supervisor.start("events", self._recorder.run())
        if await supervisor.until(self._wait_synced()):
            settle_garbage()
            supervisor.start("campaign", self._campaign())
            await supervisor.wait()

    async def _campaign(self) -> None:
        while True:
            await self._elector.run(self._lead)
            # Another leader was quicker at the fence; it holds the Lease as well, or will soon.
            await asyncio.sleep(self._settings.lease_retry_period)

    async def _lead(self, term: int) -> None:
        settings = self._settings
        rules = Rules(
            patience=settings.patience(),
            policy=settings.policy(),
            plan_interval=settings.plan_interval,
            is_fresh=lambda: self._reflectors.oldest() <= settings.stale_after,
            is_current=lambda: self._reflectors.oldest() <= settings.blind_after,
        )
        self._metrics.leader.set(1)
        try:
            fence = await take_over(self._world, self._hands.gangs)
            async with self._dispatching():
                await Leader(self._hands, rules, fence, [self._publisher().run]).run()
        except* LostFenceError as errors:
            log.warning("stepping down", error=str(errors.exceptions[0]))
        finally:
            self._metrics.leader.set(0)
            self._world.forget_intentions()

    @asynccontextmanager
    async def _dispatching(self) -> AsyncIterator[None]:
        """The queue service's work goes on beside the gangs, and ends with the term."""
        work = asyncio.create_task(self._dispatch.lead(), name="dispatch") if self._dispatch is not None else None
        try:
            yield
        finally:
            if work is not None:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    def _publisher(self) -> EndpointPublisher:
        hands = self._hands
        return EndpointPublisher(
            self._world,
            self._published,
            self._slice_writer,
            self._is_leader,
            hands.reporter,
            hands.metrics,
            self._clock,
        )

    def _is_leader(self) -> bool:
        return self._elector.is_leader

    async def _wait_synced(self) -> None:
        await asyncio.gather(*(reflector.synced.wait() for reflector in self._reflectors.all()))
        await self._key.present.wait()

    def _unready(self) -> list[str]:
        missing = self._reflectors.unsynced()
        if not missing and not self._key.present.is_set():
            missing.append(f"secret {RELEASE_KEY_OBJECT} has no key")
        return missing

    def _lease_settings(self) -> LeaseSettings:
        settings = self._settings
        return LeaseSettings(
            namespace=settings.namespace,
            name=LEASE_NAME,
            identity=settings.identity,
            duration=settings.lease_duration,
            renew_deadline=settings.lease_renew_deadline,
            retry_period=settings.lease_retry_period,
        )


async def run_controller(supervisor: Supervisor, settings: ControllerSettings, service: ServiceSettings | None) -> None:
    """The whole controller; without a queue service it knows the jobs of kubectl alone."""
    async with (
        tracing(SERVICE) as tracer,
        AsyncExitStack() as stack,
        await ApiSession.connect(connection_limit=80, user_agent="muster-controller") as session,
        # On a connection of its own: a renewal that queues behind thousands of tickets would cost the leadership.
        await ApiSession.connect(connection_limit=2, user_agent="muster-controller-lease") as lease_session,
    ):
        stores = await DispatchStores.open(service, stack) if service is not None else None
        controller = Controller(settings, session, lease_session, CollectorRegistry(), SystemClock(), stores, tracer)
        try:
            await controller.run(supervisor)
        finally:
            # Whoever leads gives that up while there is a session to say so, and before the last spans are sent.
            await supervisor.close()
