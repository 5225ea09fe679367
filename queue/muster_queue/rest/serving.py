"""The api's settings and its server; whoever starts it brings the service that stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from pydantic import Field

from muster_kube.clock import Clock
from muster_kube.process import LogLevel, settle_garbage
from muster_kube.serve import HttpServer
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_queue.identity.gatekeeper import Gatekeeper, open_gatekeeper
from muster_queue.identity.settings import IdentitySettings
from muster_queue.rest.application import make_application
from muster_queue.rest.direct import direct_handlers
from muster_queue.rest.metrics import RestMetrics
from muster_queue.rest.pool_service import PoolService
from muster_queue.rest.service import JobService


class ApiSettings(IdentitySettings):
    """Environment variables with the prefix MUSTER_; no one of them lets anybody in without a token."""

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=8000, ge=0, le=65535)
    log_level: LogLevel = "INFO"


def make_server(
    service: JobService,
    gate: Gatekeeper,
    clock: Clock,
    registry: CollectorRegistry,
    *,
    address: tuple[str, int] = ("127.0.0.1", 0),
    unready: Callable[[], Sequence[str]] | None = None,
    pools: PoolService | None = None,
    grace_seconds: int = 5,
) -> HttpServer:
    """The application on its port, with the short way for its hot route."""
    metrics = RestMetrics(registry)
    application = make_application(service, gate, clock, metrics, registry, unready=unready, pools=pools)
    direct = direct_handlers(service, gate, metrics)
    return HttpServer(application, *address, grace_seconds=grace_seconds, direct=direct)


async def serve_api(
    supervisor: Supervisor,
    settings: ApiSettings,
    service: JobService,
    session: ApiSession,
    clock: Clock,
    registry: CollectorRegistry,
    *,
    pools: PoolService | None = None,
) -> None:
    """Serves until the supervisor stops; requests under way are answered before their callers are forgotten."""
    async with open_gatekeeper(settings, session, clock) as gate:
        supervisor.start("issuers' keys", gate.load_keys(), may_end=True)
        server = make_server(
            service,
            gate,
            clock,
            registry,
            address=(settings.listen_host, settings.listen_port),
            unready=lambda: [*service.unready(), *gate.unready()],
            pools=pools,
        )
        serving = supervisor.start("http", server.run())
        try:
            if await supervisor.until(server.started.wait()):
                settle_garbage()
                await supervisor.wait()
        finally:
            if pools is not None:
                # A long poll would hold the server's end up.
                pools.send_away()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
