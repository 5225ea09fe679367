"""Pods and container histories for unit tests of the process node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from muster_local.process_node.decisions import Attempt, ContainerView, Exit
from muster_local.process_node.environment import Data, Sources
from muster_local.process_node.objects import Pod

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(*containers: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> Pod:
    """A pod as the API server would send it; a container needs no more than what the test is about."""
    named = [{"name": "main", "image": "muster-host"} | container for container in containers or ({},)]
    document = {
        "metadata": {"name": "p", "namespace": "team", "uid": "u-1", **(metadata or {})},
        "spec": {"containers": named, "nodeName": "process-node-0", **spec},
    }
    return msgspec.convert(document, Pod)


def sources(config_maps: Data | None = None, secrets: Data | None = None) -> Sources:
    return Sources(
        config_maps=config_maps or {},
        secrets=secrets or {},
        address="127.64.0.1",
        host_address="127.0.0.1",
        allocatable={"cpu": "8", "memory": "16Gi"},
    )


def running(number: int = 0, crashes: int = 0) -> ContainerView:
    return ContainerView(attempt=Attempt(number, crashes, started_at=NOW - timedelta(seconds=5)))


def ended(code: int, *, ago: float = 0.0, ran: float = 1.0, number: int = 0, crashes: int = 0) -> ContainerView:
    """A container that ended so many seconds before now."""
    finished = NOW - timedelta(seconds=ago)
    exit_ = Exit(code, "Error" if code else "Completed", finished - timedelta(seconds=ran), finished)
    return ContainerView(attempt=Attempt(number, crashes, exit_.started_at, exit_))
