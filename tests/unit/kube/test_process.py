"""Supervised tasks, signals and the HTTP server that every service shares."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from muster_kube.certificates import make_authority, make_server_certificate
from muster_kube.probes import Probes
from muster_kube.serve import HttpServer, Message, Receive, Send, respond
from muster_kube.supervision import Supervisor, TaskEndedError

PROGRAM = """
import asyncio, sys
from muster_kube import process
from muster_kube.wire import decode_event

async def work():
    try:
        if "deep" in sys.argv:
            levels = 9_900
            decode_event(b'{"type":"ADDED","object":' + b"[" * levels + b"]" * levels + b"}")
        print("working", flush=True)
        if "crash" in sys.argv:
            raise RuntimeError("broken")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        print("cleaned up", flush=True)

async def main(supervisor):
    supervisor.start("work", work())
    await supervisor.wait()

sys.exit(process.run("tester", main))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_every_depth_that_the_api_server_takes_can_be_read() -> None:
    with start("deep") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.terminate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_in_good_order(number: signal.Signals) -> None:
    with start() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        output, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert output == "cleaned up\n"
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["stopping", "stopped"]


def test_crashed_task_ends_the_process_with_its_error_logged() -> None:
    with start("crash") as process:
        _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    first = json.loads(log.splitlines()[0])
    assert (first["event"], first["task"], first["service"]) == ("background task crashed", "work", "tester")
    assert "RuntimeError: broken" in first["exception"]


async def test_tasks_end_in_reverse_order_each_wholly_before_the_next() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append(name)

    async with Supervisor() as supervisor:
        for name in ("reflector", "controller", "server"):
            supervisor.start(name, work(name))
        await asyncio.sleep(0)
        supervisor.stop()
        await supervisor.wait()
    assert ended == ["server", "controller", "reflector"]


async def test_task_that_returns_unasked_is_a_crash() -> None:
    async with Supervisor() as supervisor:
        supervisor.start("short", asyncio.sleep(0))
        with pytest.raises(TaskEndedError):
            await supervisor.wait()


async def test_task_that_may_end_is_none() -> None:
    async with Supervisor() as supervisor:
        await supervisor.start("short", asyncio.sleep(0), may_end=True)
        assert not supervisor.stopping.is_set()


async def test_start_up_stops_waiting_when_the_process_stops() -> None:
    async with Supervisor() as supervisor:
        never = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, supervisor.stop)
        assert not await supervisor.until(never.wait())
        assert await supervisor.until(asyncio.sleep(0)) or supervisor.stopping.is_set()


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = await reader.read(64 << 10)
    writer.close()
    return answer


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class TestHttpServer:
    async def test_probes_and_the_services_own_paths(self) -> None:
        missing = ["pods are not synced"]
        registry = CollectorRegistry()
        Counter("things", "Things.", registry=registry).inc()

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await respond(send, 200, b"{}")

        server = HttpServer(Probes(lambda: missing, registry, app), "127.0.0.1", 0)
        async with Supervisor() as supervisor:
            supervisor.start("http", server.run())
            await server.started.wait()
            assert b"200 OK" in await ask(server.port, get("/healthz"))
            assert b"503" in (answer := await ask(server.port, get("/readyz")))
            assert answer.endswith(b"pods are not synced")
            missing.clear()
            assert b"200 OK" in await ask(server.port, get("/readyz"))
            assert b"things_total 1.0" in await ask(server.port, get("/metrics"))
            assert b"content-length: 2" in await ask(server.port, get("/filter"))

    async def test_certificates_are_served_and_replaced_while_running(self, tmp_path: Path) -> None:
        now = datetime.now(UTC)
        authority = make_authority("muster", now)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def load() -> None:
            leaf = make_server_certificate(authority, ["localhost"], now)
            (tmp_path / "pem").write_bytes(leaf.certificate + leaf.key)
            serving.load_cert_chain(tmp_path / "pem")

        async def serial_number() -> object:
            trusting = ssl.create_default_context(cadata=authority.certificate.decode())
            _, writer = await asyncio.open_connection("localhost", server.port, ssl=trusting)
            certificate = writer.get_extra_info("peercert")
            writer.close()
            return certificate["serialNumber"]

        load()
        server = HttpServer(Probes(list, CollectorRegistry()), "127.0.0.1", 0, tls=serving)
        async with Supervisor() as supervisor:
            supervisor.start("https", server.run())
            await server.started.wait()
            first = await serial_number()
            load()
            assert await serial_number() != first

    async def test_headers_without_end_are_refused(self) -> None:
        server = HttpServer(Probes(list, CollectorRegistry()), "127.0.0.1", 0)
        async with Supervisor() as supervisor:
            supervisor.start("http", server.run())
            await server.started.wait()
            endless = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x-filler: yyyyyyyyyyyyyyyyyy\r\n" * 20_000
            assert b"400 Bad Request" in await ask(server.port, endless)
            assert b"200 OK" in await ask(server.port, get("/healthz"))

    async def test_request_under_way_is_answered_before_the_end(self) -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            arrived.set()
            await go_on.wait()
            await respond(send, 200, b"done")

        server = HttpServer(Probes(list, CollectorRegistry(), app), "127.0.0.1", 0)
        async with Supervisor() as supervisor:
            supervisor.start("http", server.run())
            await server.started.wait()
            asking = asyncio.create_task(ask(server.port, get("/slow")))
            await arrived.wait()
            asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert (await asking).endswith(b"done")
