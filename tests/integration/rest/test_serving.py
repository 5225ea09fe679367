"""The api as a process runs it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from bones.memory_jobs import MemoryJobs
from bones.review_server import review_server
from muster_kube.clock import SystemClock
from muster_kube.session import ApiSession
from muster_kube.supervision import Supervisor
from muster_queue.identity.settings import IdentitySettings
from muster_queue.rest.serving import ApiSettings, serve_api


async def test_it_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings, jobs = ApiSettings(listen_port=port), MemoryJobs()
    jobs.missing = ["postgres"]
    async with (
        review_server() as reviews,
        await ApiSession.connect(reviews.write_kubeconfig(tmp_path)) as session,
        Supervisor() as supervisor,
        aiohttp.ClientSession() as client,
    ):
        work = serve_api(supervisor, settings, jobs, session, SystemClock(), CollectorRegistry())
        serving = asyncio.create_task(work)
        assert await answer(client, port, "/readyz") == (503, "postgres")
        jobs.missing = []
        assert await answer(client, port, "/readyz") == (200, "ok")
        supervisor.stop()
        await serving
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{port}/readyz")


async def answer(client: aiohttp.ClientSession, port: int, path: str) -> tuple[int, str]:
    async with asyncio.timeout(20):
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}{path}") as response:
                    return response.status, await response.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0)


def test_no_setting_turns_authentication_off() -> None:
    assert set(IdentitySettings.model_fields) == {"token_audience", "token_issuers"}
    assert set(ApiSettings.model_fields) - set(IdentitySettings.model_fields) == {
        "listen_host",
        "listen_port",
        "log_level",
    }
