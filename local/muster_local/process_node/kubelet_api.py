"""The part of a kubelet's API that kubectl needs, over TLS and for the API server alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from muster_local.pki import KUBELET_CLIENT
from muster_local.process_node.logs import LogQuery, LogQueryError, read_log
from muster_local.process_node.pod_worker import PodWorker
from muster_local.process_node.supervisor.launch import LOG_FILE

_OPEN_PATHS: Final = ("/healthz", "/readyz")
_NOT_SUPPORTED: Final = ("exec", "attach", "portForward", "run", "checkpoint")


class KubeletApi:
    """Answers about the pods of `workers`, by uid."""

    def __init__(
        self, workers: Mapping[str, PodWorker], registry: CollectorRegistry, is_ready: Callable[[], bool]
    ) -> None:
        self._workers = workers
        self._registry = registry
        self._is_ready = is_ready

    def application(self) -> web.Application:
        app = web.Application(middlewares=[only_the_api_server])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._readiness)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/pods", self._pods)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for verb in _NOT_SUPPORTED:
            app.router.add_route("*", f"/{verb}/{{rest:.*}}", self._not_supported)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readiness(self, request: web.Request) -> web.Response:
        return web.Response(text="ok") if self._is_ready() else web.Response(status=503, text="not registered yet")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain"})

    async def _pods(self, request: web.Request) -> web.Response:
        items = [msgspec.to_builtins(worker.pod) for worker in self._workers.values()]
        document = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    async def _not_supported(self, request: web.Request) -> web.Response:
        verb = request.path.split("/")[1]
        text = f"{verb} is not supported on process nodes: their containers are processes of this machine\n"
        return web.Response(status=501, text=text)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        worker = self._find(request.match_info["namespace"], request.match_info["pod"])
        runs = worker.runs.get(request.match_info["container"]) if worker is not None else None
        if runs is None:
            return web.Response(status=404, text="no such container on this node\n")
        try:
            query = LogQuery.read(request.query, datetime.now(UTC))
        except LogQueryError as error:
            return web.Response(status=400, text=f"{error}\n")
        folder = runs.log_folder(previous=query.previous)
        if folder is None or not (folder / LOG_FILE).exists():
            which = "previous terminated container" if query.previous else "container"
            text = f'{which} "{runs.container.name}" in pod "{request.match_info["pod"]}" not found\n'
            return web.Response(status=400, text=text)
        newest = runs.newest
        run = newest if newest is not None and newest.folder == folder else None
        return await _send_log(request, folder / LOG_FILE, query, lambda: run is None or run.is_over())

    def _find(self, namespace: str, name: str) -> PodWorker | None:
        for worker in self._workers.values():
            if (worker.pod.metadata.namespace, worker.pod.metadata.name) == (namespace, name):
                return worker
        return None


async def _send_log(
    request: web.Request, path: Path, query: LogQuery, is_over: Callable[[], bool]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    left = query.limit_bytes

    def has_left() -> bool:
        return request.transport is None or request.transport.is_closing()

    async for chunk in read_log(path, query, lambda: has_left() or is_over()):
        part = chunk if left is None else chunk[:left]
        await response.write(part)
        if left is not None and (left := left - len(part)) <= 0:
            break
    await response.write_eof()
    return response


@web.middleware
async def only_the_api_server(request: web.Request, handler: Any) -> web.StreamResponse:
    """Everything but the probes needs the certificate that the API server shows."""
    if request.path not in _OPEN_PATHS and common_name(_certificate(request)) != KUBELET_CLIENT:
        return web.Response(status=401, text="only the API server may ask\n")
    answer: web.StreamResponse = await handler(request)
    return answer


def _certificate(request: web.Request) -> Mapping[str, Any] | None:
    if request.transport is None:
        return None
    certificate: Mapping[str, Any] | None = request.transport.get_extra_info("peercert")
    return certificate


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """The subject's common name in a verified certificate, as Python's ssl tells it."""
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


def tls_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Serves this certificate and verifies the client's where it shows one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
