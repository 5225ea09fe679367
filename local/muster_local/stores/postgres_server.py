"""An embedded Postgres: made once, durable, on loopback and a socket, with a password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from muster_local.errors import ComponentFailedError
from muster_local.processes import reap
from muster_local.secure_files import write_private
from muster_local.stores.accounts import Account, unprivileged_account
from muster_local.stores.finding import find_postgres
from muster_local.stores.homes import postgres_home, reachable_program
from muster_local.stores.prepared import PreparedStore
from muster_local.stores.urls import DATABASE, USER, StoreAddress, password_of, write_url

STORE = "postgres"
_MAKING_SECONDS = 120
_STATUS_LINE = 7
_PATH = os.defpath
_DATA = "data"
_LOCK = "postmaster.pid"
_REAP_SECONDS = 10.0
_POLL_SECONDS = 0.02


def prepare_postgres(folder: Path, port: int) -> PreparedStore:
    """Makes the database unless it is there, and says how to start it; `folder` keeps password and address."""
    account = unprivileged_account()
    home = postgres_home(folder, account)
    data = home / _DATA
    _await_reaped(data)
    program = reachable_program(find_postgres(_major_of(data)), account)
    password = password_of(folder, STORE)
    if not data.exists():
        _make(program, data, password, account)
    address = StoreAddress(STORE, port, home / f".s.PGSQL.{port}")
    write_url(folder, STORE, address.url(password))
    command = [str(program), "-D", str(data), *_settings(address)]
    return PreparedStore(
        command=command,
        environment=_environment(),
        folder=home,
        account=account,
        # Fast: connections are ended. SIGTERM would wait for every client to go by itself.
        polite_signal=signal.SIGINT,
        children_apart=True,
    )


def _await_reaped(data: Path) -> None:
    """Waits until nothing is left of a killed server: for Postgres a zombie still owns the data."""
    try:
        former = psutil.Process(int((data / _LOCK).read_text().split("\n", 1)[0]))
        deadline = time.monotonic() + _REAP_SECONDS
        while former.status() == psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            reap(former.pid)
            time.sleep(_POLL_SECONDS)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return


def _settings(address: StoreAddress) -> list[str]:
    """What differs from Postgres' defaults; fsync and synchronous_commit are on by default and stay so."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(address.port),
        "unix_socket_directories": str(address.socket.parent) if address.has_socket else "",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "log_line_prefix": "%m [%p] ",
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA and the like would change what is started."""
    return {"PATH": _PATH, "LC_ALL": "C", "TZ": "UTC"}


def _major_of(data: Path) -> int | None:
    file = data / "PG_VERSION"
    return int(file.read_text()) if file.exists() else None


def _make(program: Path, data: Path, password: str, account: Account | None) -> None:
    """Into another folder first, so that a start that is killed here is simply done again."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    secret = data.with_name("password")
    write_private(secret, password)
    if account is not None:
        os.chown(secret, account.user, account.group)
    try:
        options = [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--data-checksums"]
        place = ["-D", str(unfinished), "--encoding=UTF8", "--locale=C"]
        _run([str(program.with_name("initdb")), *place, *options], data.parent, account)
    finally:
        secret.unlink()
    single = [str(program), "--single", "-D", str(unfinished), "postgres"]
    _run(single, data.parent, account, f"CREATE DATABASE {DATABASE};\n")
    unfinished.rename(data)


def _run(command: Sequence[str], folder: Path, account: Account | None, given: str = "") -> None:
    argv = [*(account.prefix(folder) if account else ()), *command]
    done = subprocess.run(
        argv,
        cwd="/",
        env=_environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=_MAKING_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ComponentFailedError(f"{Path(command[0]).name} failed\n{done.stdout}{done.stderr}")


def postgres_answers(folder: Path, pid: int) -> bool:
    """As pg_ctl finds it out: the server writes its state into its lock file."""
    home = postgres_home(folder, unprivileged_account())
    try:
        lines = (home / _DATA / _LOCK).read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"
