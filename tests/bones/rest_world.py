"""The api over real HTTP, with real tokens and an API server that only judges; behind it a service in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry
from yarl import URL

from bones.memory_jobs import MemoryJobs
from bones.review_server import ReviewServer, review_server
from bones.token_maker import TokenMaker, issuer_settings
from muster_kube.clock import SystemClock
from muster_kube.session import ApiSession
from muster_queue.identity.gatekeeper import open_gatekeeper
from muster_queue.identity.settings import IdentitySettings
from muster_queue.rest.pool_service import PoolService
from muster_queue.rest.serving import make_server

ANN, BOB = "oidc:ann", "oidc:bob"
VERBS = ("create", "get", "list", "patch", "update", "delete")
JOB = {"job_type": "inference", "image": "pytorch-inference:latest", "config": {"model": "resnet50"}}


@dataclass
class HttpWorld:
    """Whatever stands behind the api."""

    url: str
    reviews: ReviewServer
    tokens: TokenMaker
    client: aiohttp.ClientSession
    own_token: str = field(default="", kw_only=True)

    def token(self, user: str = "ann", **claims: Any) -> str:
        return self.tokens.token(now=SystemClock().now().timestamp(), sub=user, **claims)

    async def ask(
        self, method: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        """As ann, who may do everything, unless another token is given; an empty one sends none."""
        self.own_token = self.own_token or self.token()
        shown = self.own_token if token is None else token
        sent = {"Authorization": f"Bearer {shown}"} if shown else {}
        async with self.client.request(
            method, URL(self.url + path, encoded=True), headers=sent | (headers or {}), **more
        ) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def submit(self, **fields: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/api/v1/jobs/", json={**JOB, **fields})
        assert answer.status == 201, answer.body
        job: dict[str, Any] = answer.json()
        return job


@dataclass
class RestWorld(HttpWorld):
    jobs: MemoryJobs


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def rest_world(folder: Path, pools: PoolService | None = None) -> AsyncIterator[RestWorld]:
    """Everything runs in the test's loop; the port is real."""
    tokens = TokenMaker()
    keys = folder / "jwks.json"
    keys.write_bytes(tokens.document())
    settings = IdentitySettings(token_issuers=(issuer_settings(str(keys)),))
    clock, jobs = SystemClock(), MemoryJobs()
    async with review_server() as reviews:
        reviews.allow(ANN, *VERBS)
        async with (
            await ApiSession.connect(reviews.write_kubeconfig(folder)) as session,
            open_gatekeeper(settings, session, clock) as gate,
            aiohttp.ClientSession() as client,
        ):
            server = make_server(jobs, gate, clock, CollectorRegistry(), pools=pools)
            serving = asyncio.create_task(server.run())
            await server.started.wait()
            try:
                yield RestWorld(f"http://127.0.0.1:{server.port}", reviews, tokens, client, jobs)
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving
