"""An embedded Redis or Valkey: durable, never evicting, on loopback and a socket, with a password."""

from __future__ import annotations

import os
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from muster_local.secure_files import write_private
from muster_local.stores.finding import find_redis
from muster_local.stores.prepared import PreparedStore
from muster_local.stores.urls import StoreAddress, password_of, write_url

STORE = "redis"
_PROBE_SECONDS = 5.0


def prepare_redis(folder: Path, port: int) -> PreparedStore:
    """Writes its configuration and says how to start it; `folder` keeps data, password and address."""
    program = find_redis()
    data = folder / STORE
    data.mkdir(mode=0o700, exist_ok=True)
    address = StoreAddress(STORE, port, data / "redis.sock")
    password = password_of(folder, STORE)
    configuration = folder / "redis.conf"
    write_private(configuration, redis_configuration(address, password))
    write_url(folder, STORE, address.url(password))
    return PreparedStore(
        command=[str(program.path), str(configuration)],
        environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        folder=folder,
    )


def redis_configuration(address: StoreAddress, password: str) -> str:
    """What differs from the defaults."""
    settings = {
        "bind": "127.0.0.1",
        "port": str(address.port),
        "requirepass": password,
        "dir": _quoted(address.socket.parent),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # The file of appended commands is enough.
        "save": '""',
        # Full is an error that somebody sees; forgetting jobs to make room is one that nobody sees.
        "maxmemory-policy": "noeviction",
        # Processes are recognised by their command lines.
        "set-proc-title": "no",
    }
    if address.has_socket:
        settings |= {"unixsocket": _quoted(address.socket), "unixsocketperm": "700"}
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def redis_answers(folder: Path, port: int, pid: int) -> bool:
    """Whether this very process has read its data and serves clients."""
    with Redis(
        host="127.0.0.1", port=port, password=password_of(folder, STORE), socket_timeout=_PROBE_SECONDS
    ) as client:
        try:
            return bool(client.info("server")["process_id"] == pid)
        except RedisError:
            return False
