"""Stands in for the API server where only the api is measured: allows every user everything, and knows no object.

A real one beside the load would take a share of the processors; what the api asks it, it asks once in a while.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
from aiohttp import web

_LIST = {"metadata": {"resourceVersion": "1"}, "items": []}
_END = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
_ALL_LISTED = msgspec.json.encode({"type": "BOOKMARK", "object": {"metadata": _END}}) + b"\n"


class Reviewer:
    """Serves from a thread of its own, as a context."""

    def __init__(self) -> None:
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reviewer", daemon=True)
        self._stop = asyncio.Event()

    def __enter__(self) -> Reviewer:
        self._thread.start()
        self._started.wait(10.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10.0)

    def write_kubeconfig(self, path: Path) -> Path:
        """As JSON, which is YAML too."""
        config = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "api"}}],
            "clusters": [{"name": "it", "cluster": {"server": self.url}}],
            "users": [{"name": "api", "user": {"token": "the-api"}}],
        }
        path.write_bytes(msgspec.json.encode(config))
        return path

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_post("/{tail:.*}", self._review)
        application.router.add_get("/{tail:.*}", self._list)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _review(self, request: web.Request) -> web.Response:
        review = await request.json()
        return web.json_response({**review, "status": {"allowed": True}}, status=201)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") not in ("true", "1"):
            return web.json_response(_LIST)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(_ALL_LISTED)
        await self._stop.wait()
        return response
