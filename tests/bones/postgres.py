"""A PostgreSQL server of the tests' own, from the system's binaries: durable, unprivileged, easy to kill."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

PASSWORD = "only-for-tests"
SUPERUSER = "tester"
APP_USER = "api"
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.02
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "100",
    "wal_compression": "lz4",
    "autovacuum_naptime": "10s",
}


class PostgresMissingError(RuntimeError):
    """This machine has no PostgreSQL server binaries."""


def find_binaries() -> Path:
    """The folder of initdb and postgres: on PATH, or the newest where Debian and its kin put them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresMissingError("no PostgreSQL server binaries here (initdb, postgres)")


class PostgresServer:
    """One private cluster; `start` and the ways to stop it may follow each other at will."""

    def __init__(self) -> None:
        self.binaries = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="mpg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = _unprivileged() if os.geteuid() == 0 else None
        self.port = _free_port()
        self._initialise()

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, port: int | None = None) -> str:
        """Over the socket; with a port over TCP, so that a proxy may stand in between."""
        if port is not None:
            return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{port}/{database}"
        return f"postgresql://{user}:{PASSWORD}@/{database}?host={self._folder}&port={self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> PostgresServer:
        log = (self._folder / "log").open("ab")
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self._data, "-k", self._folder, "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                user=self._owner.pw_uid if self._owner else None,
                group=self._owner.pw_gid if self._owner else None,
                extra_groups=[] if self._owner else None,
                cwd=self._folder,
            )
        self._await_answers()
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one: as after a crash, it recovers at the next start."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(PATIENCE_SECONDS)
        self._process = None

    def freeze(self) -> None:
        """All its processes stand still, as when the machine hangs."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def destroy(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def app_url(self, database: str) -> str:
        """As the services connect: with the rights of the role muster_app and no more."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if not connection.execute("select from pg_roles where rolname = %s", [APP_USER]).fetchall():
                connection.execute(f"create role {APP_USER} login password '{PASSWORD}' in role muster_app".encode())
        return self.url(database, user=APP_USER)

    def create_database(self, template: str = "template1") -> str:
        """A new database, made as a copy of another that nobody is connected to."""
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            statement = sql.SQL("create database {} template {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._owner is not None:
            for path in (self._folder, secret):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        done = subprocess.run(
            [
                *(self.binaries / "initdb", "-D", self._data, "-U", SUPERUSER, "--auth=scram-sha-256"),
                *(f"--pwfile={secret}", "--encoding=UTF8", "--locale=C.UTF-8"),
            ],
            user=self._owner.pw_uid if self._owner else None,
            group=self._owner.pw_gid if self._owner else None,
            extra_groups=[] if self._owner else None,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}\n{done.stderr}")

    def _await_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()[-4000:]) from None
                time.sleep(POLL_SECONDS)
            else:
                return

    def _signal_all(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            os.kill(pid, number)


def start_or_skip() -> PostgresServer:
    """A laptop without PostgreSQL skips what needs it; continuous integration has to have it."""
    try:
        return PostgresServer().start()
    except PostgresMissingError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def _unprivileged() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root: its own user where there is one, else nobody."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
