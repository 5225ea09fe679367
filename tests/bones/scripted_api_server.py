"""An API server that answers what a test wrote down: for answers that a real one gives too rarely to wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ScriptedApiServer:
    """Answers each request with the next line of the script; once that is used up, requests wait for ever."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.requests: list[web.BaseRequest] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if not self.script:
            await asyncio.Event().wait()
        return await self.script.pop(0)(request)

    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests]

    def write_kubeconfig(self, folder: Path, **user: str) -> Path:
        path = folder / "kubeconfig.yaml"
        config = {
            "current-context": "scripted",
            "contexts": [{"name": "scripted", "context": {"cluster": "scripted", "user": "tester"}}],
            "clusters": [{"name": "scripted", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": user or {"token": "first"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path


@asynccontextmanager
async def scripted(*script: Answer) -> AsyncIterator[ScriptedApiServer]:
    """Serves the script on loopback."""
    server = ScriptedApiServer(*script)
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def says(status: int, body: Any, **headers: str) -> Answer:
    """One whole answer."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    return answer


def refuses(code: int, reason: str, message: str = "", **headers: str) -> Answer:
    """A Status in place of the object."""
    return says(code, status(code, reason, message), **headers)


def hangs_up() -> Answer:
    """Takes the request and drops the connection without a word."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return answer


def streams(*lines: Any, stays_open: bool = True) -> Answer:
    """A watch that sends these events, as bytes or as JSON, and then ends or goes on in silence."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        if stays_open:
            await asyncio.Event().wait()
        await response.write_eof()
        return response

    return answer


def status(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def event(kind: str, name: str, version: int, **fields: Any) -> dict[str, Any]:
    """A watch event about a namespaced object; `uid` stays the same for the same name."""
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"type": kind, "object": {"metadata": metadata, **fields}}


def bookmark(version: int, *, ends_initial: bool = False) -> dict[str, Any]:
    annotations = {"k8s.io/initial-events-end": "true"} if ends_initial else {}
    return {
        "type": "BOOKMARK",
        "object": {"metadata": {"resourceVersion": str(version), "annotations": annotations}},
    }


def gone() -> dict[str, Any]:
    return {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
