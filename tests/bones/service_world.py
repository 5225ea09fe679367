"""The whole api in the test's loop: real HTTP, real Postgres, real Redis; only who may do what is said by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from bones.rest_world import ANN, VERBS, HttpWorld
from bones.review_server import review_server
from bones.token_maker import TokenMaker, issuer_settings
from muster_kube.clock import SystemClock
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_kube.tracing import NO_TRACER, Tracer
from muster_queue.identity.gatekeeper import open_gatekeeper
from muster_queue.identity.settings import IdentitySettings
from muster_queue.index.connection import IndexSettings
from muster_queue.intake.settings import IntakeSettings
from muster_queue.rest.serving import make_server
from muster_queue.service.opening import open_service
from muster_queue.service.settings import TenantSettings
from muster_queue.service.stores import Stores, StoreSettings, open_stores
from muster_queue.storage.settings import StorageSettings

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Limits:
    """What the service under test takes in."""

    intake: IntakeSettings
    tenants: TenantSettings


@dataclass
class ServiceWorld(HttpWorld):
    stores: Stores


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = 30.0) -> None:
    """Asks again and again, for what tells nobody when it comes to pass."""
    for _ in range(int(seconds / POLL_SECONDS)):
        if await holds():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"{what}: it did not come to pass")


def limits(**tenants: float) -> Limits:
    return Limits(IntakeSettings(), TenantSettings(**tenants))


@asynccontextmanager
async def service_world(
    folder: Path, database_url: str, redis_url: str, chosen: Limits | None = None, tracer: Tracer = NO_TRACER
) -> AsyncIterator[ServiceWorld]:
    """Serves on loopback until the test is over."""
    tokens, clock, registry = TokenMaker(), SystemClock(), CollectorRegistry()
    keys = folder / "jwks.json"
    keys.write_bytes(tokens.document())
    settings = StoreSettings(
        StorageSettings(
            database_url=SecretStr(database_url),
            database_acquire_timeout=1.0,
            database_connect_timeout=2,
            database_hang_up_after=7.0,
        ),
        IndexSettings(url=SecretStr(redis_url), call_timeout=5.0),
    )
    async with (
        review_server() as reviews,
        Supervisor() as supervisor,
        open_stores(settings) as stores,
        await ApiSession.connect(reviews.write_kubeconfig(folder)) as session,
        open_service(
            supervisor, stores, session, session, chosen or limits(), clock, registry, tracer=tracer
        ) as service,
        open_gatekeeper(IdentitySettings(token_issuers=(issuer_settings(str(keys)),)), session, clock) as gate,
        aiohttp.ClientSession() as client,
    ):
        reviews.allow(ANN, *VERBS)
        server = make_server(service, gate, clock, registry, grace_seconds=1)
        serving = asyncio.create_task(server.run())
        await server.started.wait()
        try:
            yield ServiceWorld(f"http://127.0.0.1:{server.port}", reviews, tokens, client, stores)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await supervisor.close()
