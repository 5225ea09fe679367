"""An API server that only judges tokens and rights, from tables that a test fills."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from muster_queue.identity.settings import AUDIENCE


@dataclass
class ReviewServer:
    """Who shows which token, and who may do what; both are asked over real HTTP."""

    url: str = ""
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By token: the status.user of a TokenReview."""
    audiences: dict[str, list[str]] = field(default_factory=dict)
    """By token, where it is not made for us."""
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    """(user, verb, namespace); the namespace * stands for every one and for all of them."""
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """(user, namespace), whatever the rights say; the namespace * stands for every one."""
    is_away: bool = False
    reviews: list[dict[str, Any]] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, it hangs."""

    def __post_init__(self) -> None:
        self.answers.set()

    def allow(self, user: str, *verbs: str, namespace: str = "*") -> None:
        self.rights |= {(user, verb, namespace) for verb in verbs}

    def forbid(self, user: str, namespace: str = "*") -> None:
        self.forbidden.add((user, namespace))

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [review for review in self.reviews if review["kind"] == kind]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        review = await request.json()
        self.reviews.append(review)
        await self.answers.wait()
        if self.is_away:
            return web.Response(status=503)
        judge = self._token if review["kind"] == "TokenReview" else self._access
        return web.json_response({**review, "status": judge(review["spec"])}, status=201)

    def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        user = self.accounts.get(spec["token"])
        if user is None:
            return {"authenticated": False, "error": "unknown"}
        return {"authenticated": True, "user": user, "audiences": self.audiences.get(spec["token"], [AUDIENCE])}

    def _access(self, spec: dict[str, Any]) -> dict[str, Any]:
        wanted = spec.get("resourceAttributes") or spec["nonResourceAttributes"]
        namespace = wanted.get("namespace", "")
        allowed = {(spec["user"], wanted["verb"], namespace), (spec["user"], wanted["verb"], "*")} & self.rights
        forbidden = {(spec["user"], namespace), (spec["user"], "*")} & self.forbidden
        return {"allowed": bool(allowed) and not forbidden}

    def write_kubeconfig(self, folder: Path) -> Path:
        path = folder / "reviews.yaml"
        config = {
            "current-context": "reviews",
            "contexts": [{"name": "reviews", "context": {"cluster": "reviews", "user": "api"}}],
            "clusters": [{"name": "reviews", "cluster": {"server": self.url}}],
            "users": [{"name": "api", "user": {"token": "the-api"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path


@asynccontextmanager
async def review_server() -> AsyncIterator[ReviewServer]:
    """Serves on loopback."""
    server = ReviewServer()
    application = web.Application()
    application.router.add_post("/{tail:.*}", server.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
