"""What a probe asks, and what its answers add up to; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muster_api.objects import KubernetesStruct


class ExecAction(KubernetesStruct, frozen=True, kw_only=True):
    command: tuple[str, ...] = ()


class Header(KubernetesStruct, frozen=True, kw_only=True):
    name: str
    value: str = ""


class HttpAction(KubernetesStruct, frozen=True, kw_only=True):
    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[Header, ...] = ()


class SocketAction(KubernetesStruct, frozen=True, kw_only=True):
    port: int | str
    host: str = ""


class Probe(KubernetesStruct, frozen=True, kw_only=True):
    """One probe as a container's spec has it; the API server has filled in the defaults."""

    exec: ExecAction | None = None
    http_get: HttpAction | None = None
    tcp_socket: SocketAction | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3

    @property
    def is_known(self) -> bool:
        return self.exec is not None or self.http_get is not None or self.tcp_socket is not None


class Port(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    container_port: int = 0


def port_number(port: int | str, ports: Sequence[Port]) -> int:
    """A port by its number, or by the name that the container gives it; ValueError for an unknown name."""
    if isinstance(port, int):
        return port
    for known in ports:
        if known.name == port:
            return known.container_port
    return int(port)


@dataclass(slots=True)
class Verdicts:
    """Counts answers in a row; `holds` changes only when a threshold is reached."""

    probe: Probe
    holds: bool
    successes: int = 0
    failures: int = 0

    def add(self, success: bool) -> bool:
        """Takes one answer; true when `holds` was confirmed or changed by a threshold, not merely shaken."""
        self.successes = self.successes + 1 if success else 0
        self.failures = 0 if success else self.failures + 1
        if self.successes >= self.probe.success_threshold:
            self.holds = True
        elif self.failures >= self.probe.failure_threshold:
            self.holds = False
        else:
            return False
        return True


def known_probe(probe: Probe | None) -> Probe | None:
    """A probe that can be asked here."""
    return probe if probe is not None and probe.is_known else None
