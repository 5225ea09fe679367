"""The process that serves: wires reflectors, state, verbs and HTTP together. Started by the watchdog."""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from pydantic import ValidationError

from muster_api.gangs import Gang, PlacementTerm
from muster_api.names import PLACEMENT_TERM, RELEASE_KEY_OBJECT, SYSTEM_NAMESPACE
from muster_api.objects import Namespace, Node, Pod, Secret
from muster_extender.app import ExtenderApp
from muster_extender.barrier import BarrierRules
from muster_extender.binding import Binder, BindRate
from muster_extender.committing import GangCommitter
from muster_extender.freshness import Freshness
from muster_extender.fuse import Fuse, FuseRules
from muster_extender.heartbeat import KILLS_VARIABLE, Heartbeat
from muster_extender.held_calls import HeldCalls
from muster_extender.intake import Intake
from muster_extender.metrics import Metrics
from muster_extender.pods import in_order
from muster_extender.settings import ExtenderSettings
from muster_extender.state import ClusterState
from muster_extender.verbs import Verbs
from muster_extender.verification import TicketVerifier, keys_in
from muster_kube.clock import Clock, SystemClock
from muster_kube.probes import Probes
from muster_kube.process import run, settle_garbage
from muster_kube.reflector import Reflector
from muster_kube.resources import GANGS, NAMESPACES, NODES, PLACEMENT_TERMS, SECRETS, UNFINISHED_PODS
from muster_kube.serve import HttpServer
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.tracing import Tracer, tracing
from muster_kube.wire import KubernetesObject
from muster_kube.writer import Writer

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=KubernetesObject)

SERVICE: Final = "muster-extender"
SHUTDOWN_GRACE_SECONDS: Final = 5
_SPARE_CONNECTIONS: Final = 16


class Caches:
    """One reflector for each resource that decides."""

    def __init__(self, session: ApiSession) -> None:
        keys = SECRETS.in_namespace(SYSTEM_NAMESPACE).selecting(fields=f"metadata.name={RELEASE_KEY_OBJECT}")
        self.namespaces = Reflector(session, NAMESPACES, Namespace)
        self.nodes = Reflector(session, NODES, Node)
        self.pods = Reflector(session, UNFINISHED_PODS, Pod)
        self.gangs = Reflector(session, GANGS, Gang)
        self.terms = Reflector(session, PLACEMENT_TERMS, PlacementTerm)
        self.keys = Reflector(session, keys, Secret)

    @property
    def all(self) -> dict[str, Reflector[Any]]:
        return {
            "namespaces": self.namespaces,
            "nodes": self.nodes,
            "pods": self.pods,
            "gangs": self.gangs,
            "placementterms": self.terms,
            "release key": self.keys,
        }

    async def synced(self) -> None:
        for reflector in self.all.values():
            await reflector.synced.wait()

    def feed(self, state: ClusterState, intake: Intake) -> None:
        """Hands complete caches to the intake, in the order in which things depend on each other."""
        _follow(intake, self.keys, lambda secret: _use(state, intake, secret))
        _follow(intake, self.terms, lambda term: _fence(state, term))
        _follow(intake, self.namespaces, state.observe_namespace, state.forget_namespace)
        _follow(intake, self.nodes, state.observe_node, state.forget_node)
        intake.defer([partial(state.observe_pod, pod) for pod in in_order(self.pods.store.values())])
        _follow(intake, self.pods, state.observe_pod, state.forget_pod)
        _follow(intake, self.gangs, state.observe_gang, state.forget_gang)


def _follow(
    intake: Intake, cache: Reflector[T], observe: Callable[[T], None], forget: Callable[[T], None] | None = None
) -> None:
    observed = intake.ordered(observe)
    cache.subscribe(observed, lambda _, new: observed(new), intake.ordered(forget) if forget else None)


def _use(state: ClusterState, intake: Intake, secret: Secret) -> None:
    intake.defer([partial(state.verify_again, uid) for uid in state.use_keys(keys_in(secret.data))])


def _fence(state: ClusterState, term: PlacementTerm) -> None:
    if term.metadata.name == PLACEMENT_TERM:
        state.fence = term.spec


class Extender:
    """The composition root: everything that lives as long as the process."""

    def __init__(self, settings: ExtenderSettings, session: ApiSession, clock: Clock, tracer: Tracer) -> None:
        self._settings = settings
        self._caches = Caches(session)
        self._metrics = Metrics(int(os.environ.get(KILLS_VARIABLE, "0")))
        self._freshness = Freshness(
            self._caches.all, settings.longest_silence, clock, is_behind=lambda: self._intake.is_behind
        )
        self._intake = Intake()
        self._state = ClusterState(settings.gpu_resources, TicketVerifier())
        writer = Writer(session, concurrency=settings.bind_concurrency + _SPARE_CONNECTIONS, field_manager=SERVICE)
        rate = BindRate(settings.bind_concurrency)
        self._binder = Binder(writer, self._state, rate, self._metrics, settings.bind_concurrency, tracer)
        self._fuse = Fuse(FuseRules())
        self._held = HeldCalls(
            self._state,
            GangCommitter(writer, clock),
            BarrierRules(
                arrival_timeout=settings.barrier_timeout,
                grace=settings.elastic_grace,
                slack=settings.commit_slack,
                longest_margin=max(settings.commit_slack, settings.bind_timeout / 2),
            ),
            clock,
            self._metrics,
            bind_rate=rate,
            is_fresh=lambda: self._freshness.is_fresh,
        )
        verbs = Verbs(
            self._state, self._freshness, self._fuse, self._held, self._binder, clock, self._metrics, settings.strategy
        )
        app = ExtenderApp(verbs, self._freshness, clock, self._metrics, settings.bind_timeout)
        probes = Probes(self._freshness.missing, self._metrics.registry, app)
        self._server = HttpServer(
            probes, settings.listen_host, settings.listen_port, grace_seconds=SHUTDOWN_GRACE_SECONDS
        )

    async def serve(self, supervisor: Supervisor) -> None:
        """Runs until asked to stop, then answers every held call before it goes."""
        supervisor.start("heartbeat", Heartbeat.from_environment().run())
        supervisor.start("http", self._server.run())
        for name, reflector in self._caches.all.items():
            self._metrics.watch_staleness(name, reflector.staleness)
            supervisor.start(f"{name} reflector", reflector.run())
        if await supervisor.until(self._build()):
            self._begin(supervisor)
        await supervisor.wait()
        self._freshness.is_built = False
        await self._held.drain()
        await self._binder.drain()

    async def _build(self) -> None:
        """Takes in all caches once they are complete."""
        await self._caches.synced()
        self._caches.feed(self._state, self._intake)
        await self._intake.catch_up()

    def _begin(self, supervisor: Supervisor) -> None:
        """The state is built: decide from now on."""
        supervisor.start("intake", self._intake.run())
        self._caches.pods.subscribe(deleted=lambda pod: self._fuse.forget(pod.metadata.uid))
        self._freshness.is_built = True
        settle_garbage()
        log.info("ready", pods=len(self._state.pods), nodes=len(self._state.nodes), gangs=len(self._state.gangs))
        supervisor.start("barriers", self._held.run())


async def _main(settings: ExtenderSettings, supervisor: Supervisor) -> None:
    connections = settings.bind_concurrency + 2 * _SPARE_CONNECTIONS
    async with (
        await ApiSession.connect(connection_limit=connections, user_agent=SERVICE) as session,
        # The last spans are sent while the heartbeat goes on.
        tracing(SERVICE) as tracer,
    ):
        await Extender(settings, session, SystemClock(), tracer).serve(supervisor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, which has nothing but --help, and serves."""
    _parser().parse_args(arguments)
    try:
        settings = ExtenderSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "MUSTER_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{SERVICE}: {name}: {problem['msg']}\n")
        return 2
    _raise_file_limit()
    return run(SERVICE, lambda supervisor: _main(settings, supervisor), log_level=settings.log_level)


def _parser() -> argparse.ArgumentParser:
    lines = [
        f"  MUSTER_{name.upper():22} {field.description} [{_shown(field.default)}]"
        for name, field in ExtenderSettings.model_fields.items()
    ]
    return argparse.ArgumentParser(
        prog=SERVICE,
        description="The scheduler extender of Muster: filter, prioritize, preempt and bind for kube-scheduler.",
        epilog="environment:\n  KUBECONFIG                    how to reach the API server; else in-cluster\n"
        + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _shown(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _raise_file_limit() -> None:
    """Each held call is an open connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    from muster_extender.heartbeat import die_with_parent

    die_with_parent()
    sys.exit(main())
