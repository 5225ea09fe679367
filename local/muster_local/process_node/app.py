"""Composition root of a process node: makes the parts, connects them, and runs until it is told to stop."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from muster_kube.clock import SystemClock
from muster_kube.credentials import Credentials
from muster_kube.events import EventRecorder
from muster_kube.metrics import ReflectorCollector
from muster_kube.reflector import Reflector
from muster_kube.resources import PODS
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.writer import Writer
from muster_local.process_node.addresses import Addresses
from muster_local.process_node.agent import Agent
from muster_local.process_node.catalog import Catalog
from muster_local.process_node.context import NodeContext
from muster_local.process_node.folders import NodeFolders
from muster_local.process_node.host_files import HostFiles
from muster_local.process_node.images import read_table
from muster_local.process_node.isolation import find_isolation
from muster_local.process_node.kubelet_api import KubeletApi, tls_context
from muster_local.process_node.objects import Peer, Pod
from muster_local.process_node.registration import Registration
from muster_local.process_node.settings import NodeSettings
from muster_local.process_node.supervisor.launch import Isolation

log = structlog.get_logger(__name__)

_SHUTDOWN_SECONDS = 1.0


async def run_node(supervisor: Supervisor) -> None:
    """One process node."""
    settings = NodeSettings.read()
    credentials = await Credentials.find()
    async with ApiSession(credentials, user_agent="muster-process-node") as session:
        await _run(supervisor, settings, session, credentials.server)


async def _run(supervisor: Supervisor, settings: NodeSettings, session: ApiSession, server: str) -> None:
    writer = Writer(session, field_manager="muster-process-node")
    context = await _make_context(settings, writer, server)
    own = Reflector(session, PODS.selecting(fields=f"spec.nodeName={settings.name}"), Pod)
    everybody = Reflector(session, PODS, Peer)
    files = context.host_files
    everybody.subscribe(files.see, lambda _, new: files.see(new), files.lose)
    registration = _make_registration(settings, writer, context)
    agent = Agent(context, own)
    server_port = await _serve(supervisor, settings, agent, [own, everybody], registration)
    registration.port = server_port
    supervisor.start("events", context.recorder.run())
    supervisor.start("registration", registration.run())
    supervisor.start("all pods", everybody.run())
    supervisor.start("own pods", own.run())
    supervisor.start("agent", agent.run())
    await supervisor.wait()


async def _make_context(settings: NodeSettings, writer: Writer, server: str) -> NodeContext:
    folders = NodeFolders(settings.folder, settings.name)
    folders.pods.mkdir(parents=True, exist_ok=True)
    isolation = await asyncio.to_thread(find_isolation)
    if isolation is Isolation.NONE:
        log.warning("no mount namespaces here: volumes are not seen at their paths, names do not resolve")
    address = urlsplit(server)
    taken = [record.address for record in folders.known_pods()]
    return NodeContext(
        writer=writer,
        catalog=Catalog(writer),
        recorder=EventRecorder(writer, settings.name, repeat_after=300.0),
        clock=SystemClock(),
        folders=folders,
        images=read_table(settings.images),
        addresses=Addresses(settings.name, taken),
        host_files=HostFiles(),
        rule=settings.backoff_rule(),
        isolation=isolation,
        host_address=settings.listen_host,
        allocatable=settings.capacity(),
        api_server=(address.hostname or "", address.port or 443),
        refresh_seconds=settings.refresh_seconds,
    )


def _make_registration(settings: NodeSettings, writer: Writer, context: NodeContext) -> Registration:
    return Registration(
        writer,
        context.clock,
        settings.name,
        context.allocatable,
        context.host_address,
        lease_seconds=settings.lease_seconds,
        status_seconds=settings.status_seconds,
    )


async def _serve(
    supervisor: Supervisor,
    settings: NodeSettings,
    agent: Agent,
    reflectors: list[Reflector[Pod] | Reflector[Peer]],
    registration: Registration,
) -> int:
    """Opens the kubelet API and answers its port."""
    registry = CollectorRegistry()
    registry.register(ReflectorCollector(reflectors))
    pods = Gauge("muster_process_node_pods", "Pods on this node.", registry=registry)
    pods.set_function(lambda: len(agent.workers))

    def is_ready() -> bool:
        return registration.done.is_set() and all(reflector.synced.is_set() for reflector in reflectors)

    api = KubeletApi(agent.workers, registry, is_ready)
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    context = tls_context(settings.certificate, settings.private_key, settings.authority)
    site = web.TCPSite(runner, settings.listen_host, settings.listen_port, ssl_context=context)
    await site.start()
    supervisor.start("kubelet API", _until_stopped(runner))
    port: int = runner.addresses[0][1]
    return port


async def _until_stopped(runner: web.AppRunner) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
