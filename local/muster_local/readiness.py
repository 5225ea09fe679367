"""Waiting until a process answers, or saying with its last log lines why it does not."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from muster_local.components import Component, component_of
from muster_local.errors import ComponentFailedError
from muster_local.instance import Instance
from muster_local.layout import StateLayout
from muster_local.pki import AUTHORITY
from muster_local.processes import ProcessRecord, is_running

READY_SECONDS = 180.0
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 5.0
_LOG_LINES = 15

_PATHS = {
    Component.ETCD: "/health",
    Component.API_SERVER: "/readyz",
    Component.CONTROLLER_MANAGER: "/healthz",
    Component.SCHEDULER: "/readyz",
    Component.KWOK: "/healthz",
}


@dataclass(frozen=True)
class Probe:
    """What to ask to know that a process is ready."""

    url: str
    token: str | None = None
    authority: Path | None = None


def probe_for(name: str, instance: Instance, layout: StateLayout) -> Probe:
    """The readiness question of each component."""
    component = component_of(name)
    if component is Component.ETCD:
        return Probe(f"http://127.0.0.1:{instance.ports['etcd-metrics']}{_PATHS[component]}")
    url = f"{instance.url(name)}{_PATHS.get(component, '/readyz')}"
    if component is Component.WEBHOOK:
        # Its certificate comes from an authority of its own that only the webhook configurations must trust.
        return Probe(url)
    if component is Component.API_SERVER:
        return Probe(url, (layout.tokens / "admin").read_text(), layout.certificate(AUTHORITY))
    return Probe(url, authority=layout.certificate(AUTHORITY))


def answers(probe: Probe) -> bool:
    """Whether the process says that it is ready, now."""
    address = urlsplit(probe.url)
    host, port = address.hostname or "", address.port or 0
    connection: http.client.HTTPConnection
    if address.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=_PROBE_SECONDS, context=_tls_context(probe))
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_PROBE_SECONDS)
    headers = {"Authorization": f"Bearer {probe.token}"} if probe.token else {}
    try:
        connection.request("GET", address.path, headers=headers)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tls_context(probe: Probe) -> ssl.SSLContext:
    if probe.authority is not None:
        return ssl.create_default_context(cafile=str(probe.authority))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def await_ready(
    name: str, record: ProcessRecord, is_ready: Callable[[], bool], log: Path, seconds: float = READY_SECONDS
) -> None:
    """Returns once the process is ready; raises as soon as it has ended, or when it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        if not is_running(record):
            raise ComponentFailedError(f"{name} ended while starting\n{log_tail(log)}")
        if time.monotonic() > deadline:
            text = (
                f"{name} was not ready after {seconds:.0f} s; if this machine is merely busy, try again when it is not"
            )
            raise ComponentFailedError(f"{text}\n{log_tail(log)}")
        time.sleep(_POLL_SECONDS)


def log_tail(log: Path) -> str:
    """The last lines of a log, with its path, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join([f"last lines of {log}:", *(f"  {line}" for line in lines)])
