"""Replicas settle on one certificate, readiness tells the truth, and an API server that is away changes nothing."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from muster_kube.clock import SystemClock
from muster_kube.errors import Unavailable
from muster_kube.serve import HttpServer
from muster_webhook.application import make_application
from muster_webhook.certificate_keeper import CertificateKeeper
from muster_webhook.certificate_store import Document, trust_patch
from muster_webhook.rotation import Material, RotationPolicy
from muster_webhook.tls import ServingIdentity, served_certificate

POLICY = RotationPolicy(
    ("muster-webhook.muster-system.svc", "localhost", "127.0.0.1"), timedelta(days=90), timedelta(0)
)


class SharedSecret:
    """One Secret in memory, written by compare-and-swap."""

    def __init__(self) -> None:
        self.material = Material()
        self.version = 0
        self.published = b""
        self.is_away = False
        self.looked_at = asyncio.Event()

    async def read(self) -> tuple[Material, Document]:
        self.looked_at.set()
        if self.is_away:
            raise Unavailable(0, "NotSent", "nobody there")
        # Whoever reads in the same moment reads the same version.
        seen = self.material, {"version": self.version}
        await asyncio.sleep(0)
        return seen

    async def write(self, material: Material, secret: Document) -> bool:
        if secret["version"] != self.version:
            return False
        self.material, self.version = material, self.version + 1
        return True

    async def publish(self, trusted: bytes) -> bool:
        self.published = trusted
        return True


def make_keeper(store: SharedSecret) -> tuple[CertificateKeeper, ServingIdentity]:
    serving = ServingIdentity()
    return CertificateKeeper(store, serving, POLICY, SystemClock(), interval=0.01), serving


@asynccontextmanager
async def running(keeper: CertificateKeeper, serving: ServingIdentity) -> AsyncIterator[HttpServer]:
    server = HttpServer(make_application({}), "127.0.0.1", 0, tls=serving.context, grace_seconds=1)
    task = asyncio.create_task(server.run())
    await server.started.wait()
    work = asyncio.create_task(keeper.run("127.0.0.1", server.port))
    yield server
    for each in (work, task):
        each.cancel()
    await asyncio.gather(work, task, return_exceptions=True)


async def until(store: SharedSecret, condition: Callable[[], bool]) -> None:
    """Looks again after each round of the keeper."""
    async with asyncio.timeout(10):
        while not condition():
            store.looked_at.clear()
            await store.looked_at.wait()


async def test_replicas_that_start_together_serve_one_certificate() -> None:
    store = SharedSecret()
    first, second = make_keeper(store), make_keeper(store)
    await asyncio.gather(first[0].obtain(), second[0].obtain())
    assert store.version == 1
    assert first[1].certificate == second[1].certificate == store.material.current.certificate


async def test_ready_means_that_a_client_which_trusts_the_bundle_gets_through() -> None:
    store = SharedSecret()
    keeper, serving = make_keeper(store)
    assert keeper.unready() == ["no certificate yet"]
    await keeper.obtain()
    async with running(keeper, serving) as server:
        await until(store, lambda: not keeper.unready())
        served = await served_certificate("127.0.0.1", server.port, store.published, "localhost")
        assert served.strip() == serving.certificate.strip()


async def test_a_new_certificate_is_served_without_a_new_server() -> None:
    store = SharedSecret()
    keeper, serving = make_keeper(store)
    await keeper.obtain()
    before = serving.certificate
    async with running(keeper, serving):
        await until(store, lambda: not keeper.unready())
        store.material, store.version = Material(), store.version + 1
        await until(store, lambda: serving.certificate != before)
        await until(store, lambda: not keeper.unready())


async def test_an_api_server_that_is_away_leaves_readiness_as_it_was() -> None:
    store = SharedSecret()
    keeper, serving = make_keeper(store)
    await keeper.obtain()
    async with running(keeper, serving):
        await until(store, lambda: not keeper.unready())
        store.is_away = True
        for _ in range(3):
            store.looked_at.clear()
            await store.looked_at.wait()
        assert keeper.unready() == []


async def test_a_port_that_somebody_else_serves_is_not_ready() -> None:
    store = SharedSecret()
    keeper, _ = make_keeper(store)
    await keeper.obtain()
    store.looked_at.clear()
    with socket.create_server(("127.0.0.1", 0)) as other:
        work = asyncio.create_task(keeper.run("127.0.0.1", other.getsockname()[1]))
        await store.looked_at.wait()
        assert keeper.unready()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_only_webhooks_with_another_bundle_are_patched() -> None:
    encoded = b64encode(b"new").decode()
    configuration = {
        "webhooks": [
            {"name": "a", "clientConfig": {"caBundle": encoded}},
            {"name": "b", "clientConfig": {"url": "https://127.0.0.1"}},
        ]
    }
    assert trust_patch(configuration, encoded) == [
        {"op": "test", "path": "/webhooks/1/name", "value": "b"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": encoded},
    ]
    assert trust_patch({"webhooks": None}, encoded) == []
