"""The three paths that every service answers besides its own: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from muster_kube.serve import TEXT_TYPE, AsgiApp, Receive, Send, respond


class Probes:
    """An ASGI application that answers the probes and passes everything else on.

    `unready` tells what is missing for the service to do its work; nothing missing is ready.
    """

    def __init__(
        self,
        unready: Callable[[], Sequence[str]],
        registry: CollectorRegistry,
        app: AsgiApp | None = None,
    ) -> None:
        self._unready = unready
        self._registry = registry
        self._app = app or _not_found

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        match scope["path"] if scope["type"] == "http" else None:
            case "/healthz":
                await respond(send, 200, b"ok", TEXT_TYPE)
            case "/readyz":
                await self._readiness(send)
            case "/metrics":
                await respond(send, 200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())
            case _:
                await self._app(scope, receive, send)

    async def _readiness(self, send: Send) -> None:
        missing = self._unready()
        if missing:
            await respond(send, 503, "\n".join(missing).encode(), TEXT_TYPE)
        else:
            await respond(send, 200, b"ok", TEXT_TYPE)


async def _not_found(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await respond(send, 404, b"not found", TEXT_TYPE)
