"""Who we are towards the API server, and how to know that it is the right one; read by kubernetes.aio's config."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from muster_kube.clock import Clock, SystemClock
from muster_kube.errors import CredentialsError

REFRESH_AFTER: Final = 60.0
"""Seconds after which tokens are read anew: projected token files rotate well before they expire."""

log = structlog.get_logger(__name__)

Load = Callable[[Configuration], Awaitable[None]]


@dataclass(slots=True)
class Credentials:
    """A server, how to verify it, and the token or certificate to show."""

    configuration: Configuration
    load: Load
    clock: Clock = field(default_factory=SystemClock)
    loaded_at: float | None = None

    @classmethod
    async def find(cls, kubeconfig: Path | None = None, clock: Clock | None = None) -> Credentials:
        """From this kubeconfig, else $KUBECONFIG, else the pod's service account; raises CredentialsError."""
        path = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
        credentials = cls(Configuration(), _kubeconfig_loader(path) if path else _load_service_account)
        credentials.clock = clock or credentials.clock
        await credentials.refresh()
        return credentials

    @property
    def server(self) -> str:
        return str(self.configuration.host).rstrip("/")

    @property
    def tls_server_name(self) -> str | None:
        return self.configuration.tls_server_name or None

    @property
    def proxy(self) -> str | None:
        return self.configuration.proxy or None

    def ssl_context(self) -> ssl.SSLContext | None:
        """Verifies the server against its CA and shows our certificate, if we have one; None for plain http."""
        if not self.server.startswith("https"):
            return None
        configuration = self.configuration
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def authorization(self) -> str | None:
        """The Authorization header to send now, read anew once a minute."""
        token = self.configuration.api_key.get("BearerToken")
        if token is None:
            return None
        if self.loaded_at is None or self.clock.monotonic() - self.loaded_at >= REFRESH_AFTER:
            await self.refresh()
            token = self.configuration.api_key["BearerToken"]
        return str(token).strip()

    async def refresh(self) -> None:
        """Reads tokens again; an old one stays in use where that fails later on."""
        is_first = self.loaded_at is None
        self.loaded_at = self.clock.monotonic()
        try:
            await self.load(self.configuration)
        except (ConfigException, OSError) as error:
            if is_first:
                raise CredentialsError(str(error)) from error
            log.warning("credentials could not be read anew", error=str(error))


def _kubeconfig_loader(path: str) -> Load:
    async def load(configuration: Configuration) -> None:
        await load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)

    return load


async def _load_service_account(configuration: Configuration) -> None:
    load_incluster_config(client_configuration=configuration, try_refresh_token=False)
