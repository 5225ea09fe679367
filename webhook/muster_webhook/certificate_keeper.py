"""Keeps the server's certificate valid, trusted and really served, for as long as the process lives."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from muster_kube.certificates import expires_at
from muster_kube.clock import Clock
from muster_kube.errors import KubeError
from muster_webhook.certificate_store import Document
from muster_webhook.metrics import CERTIFICATE_EXPIRY
from muster_webhook.rotation import Material, RotationPolicy, Step, next_step, take
from muster_webhook.tls import ServingIdentity, served_certificate

log = structlog.get_logger(__name__)

IMPATIENT_SECONDS: Final = 0.5
"""Between two tries while something is missing."""


class Store(Protocol):
    """Where the certificate is kept and made known."""

    async def read(self) -> tuple[Material, Document]: ...

    async def write(self, material: Material, secret: Document) -> bool: ...

    async def publish(self, trusted: bytes) -> bool: ...


class CertificateKeeper:
    """Call `obtain` before the server starts and let `run` go on beside it."""

    def __init__(
        self, store: Store, serving: ServingIdentity, policy: RotationPolicy, clock: Clock, interval: float
    ) -> None:
        self._store = store
        self._serving = serving
        self._policy = policy
        self._clock = clock
        self._interval = interval
        self._missing = "no certificate yet"

    def unready(self) -> list[str]:
        """What keeps API servers from reaching us over TLS."""
        return [self._missing] if self._missing else []

    async def obtain(self) -> None:
        """Returns once there is a certificate to serve; tries until then."""
        while not self._serving.certificate:
            try:
                await self._renew()
            except KubeError as error:
                self._report(f"no certificate yet: {error}")
            if not self._serving.certificate:
                await asyncio.sleep(IMPATIENT_SECONDS)

    async def run(self, host: str, port: int) -> None:
        """Renews, publishes and checks, for ever; what fails is tried again, with the old certificate in use."""
        while True:
            try:
                material = await self._renew()
                self._report(await self._shortcoming(material, host, port))
            except KubeError as error:
                # An API server that is away needs no certificate either: readiness stays what it was.
                log.warning("the certificate could not be looked after", error=str(error))
            await asyncio.sleep(IMPATIENT_SECONDS if self._missing else self._interval)

    async def _renew(self) -> Material:
        material, secret = await self._store.read()
        now = self._clock.now()
        step = next_step(material, self._policy, now)
        if step is Step.SWITCH and not await self._store.publish(material.trusted(now)):
            return material
        if step is not Step.KEEP:
            renewed = take(step, material, self._policy, now)
            if not await self._store.write(renewed, secret):
                return (await self._store.read())[0]
            log.info("certificate rotation", step=str(step))
            material = renewed
        self._serve(material)
        return material

    def _serve(self, material: Material) -> None:
        if self._serving.use(material.current):
            expiry = expires_at(material.current.certificate)
            CERTIFICATE_EXPIRY.set(expiry.timestamp())
            log.info("certificate loaded", expires=expiry.isoformat())

    async def _shortcoming(self, material: Material, host: str, port: int) -> str:
        """Empty when every caBundle is right and a client that trusts it completes a handshake with us."""
        trusted = material.trusted(self._clock.now())
        if not await self._store.publish(trusted):
            return "caBundle is not written everywhere yet"
        try:
            served = await served_certificate(host, port, trusted, self._policy.names[0])
        except (OSError, TimeoutError) as error:
            return f"TLS is not served on port {port}: {error}"
        if served.strip() != self._serving.certificate.strip():
            return f"another process serves port {port}"
        return ""

    def _report(self, missing: str) -> None:
        if missing != self._missing:
            self._missing = missing
            log.info("readiness of TLS", missing=missing or None)
