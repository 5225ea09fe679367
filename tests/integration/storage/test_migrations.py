"""The schema goes up, down and up again, and each role can do exactly what it must."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql

from bones.postgres import PostgresServer
from muster_queue.__main__ import main
from muster_queue.storage.migrations.runner import downgrade, head_revision, schema_status, upgrade


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


def dump(postgres: PostgresServer, url: str) -> str:
    """The schema as pg_dump writes it, without what differs from run to run."""
    command = [postgres.binaries / "pg_dump", "--schema-only", "--dbname", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in text.splitlines() if not line.startswith(("--", "\\", "SET", "SELECT")))


def test_up_down_and_up_again_comes_to_the_same_schema(postgres: PostgresServer, empty_url: str) -> None:
    told: list[str] = []
    upgrade(empty_url, tell=told.append)
    first = dump(postgres, empty_url)
    downgrade(empty_url, "base", told.append)
    with psycopg.connect(empty_url) as connection:
        left = connection.execute(
            "select relname from pg_class where relnamespace = 'muster'::regnamespace and relkind in ('r', 'p', 'S')"
        ).fetchall()
    assert left == [("schema_revision",)]
    upgrade(empty_url)
    assert dump(postgres, empty_url) == first
    assert any(line.startswith("up to 0001: Jobs") for line in told)
    assert any(line.startswith("down from 0006: The order") for line in told)


def test_each_revision_goes_down_and_up_by_itself(postgres: PostgresServer, empty_url: str) -> None:
    upgrade(empty_url)
    whole = dump(postgres, empty_url)
    for pending in schema_status(empty_url).pending or ("0006", "0005", "0004", "0003", "0002", "0001"):
        downgrade(empty_url, f"{pending}-1" if pending != "0001" else "base")
    upgrade(empty_url)
    assert dump(postgres, empty_url) == whole


def test_two_migrators_at_once_apply_everything_once(empty_url: str) -> None:
    told: list[str] = []
    migrators = [threading.Thread(target=upgrade, args=(empty_url,), kwargs={"tell": told.append}) for _ in range(3)]
    for migrator in migrators:
        migrator.start()
    for migrator in migrators:
        migrator.join()
    assert sum(line.startswith("up to 0001") for line in told) == 1
    assert schema_status(empty_url).is_current


def test_the_command_tells_what_it_does(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", empty_url)
    assert main(["migrate", "status"]) == 3
    assert "pending: 0001" in capsys.readouterr().out
    assert main(["migrate", "up"]) == 0
    assert f"done, database at {head_revision()}" in capsys.readouterr().out
    assert main(["migrate", "status"]) == 0
    assert main(["migrate", "down", "nonsense"]) == 2
    assert main(["migrate", "down", "base"]) == 0
    assert "done, database at (nothing)" in capsys.readouterr().out


def test_a_database_that_is_away_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    assert main(["migrate", "up"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("muster-queue migrate: ") and "secret" not in told


def test_without_an_address_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MUSTER_DATABASE_URL", raising=False)
    assert main(["migrate", "up"]) == 2
    assert "MUSTER_DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("muster_app", "update muster.audit set actor = 'nobody'"),
        ("muster_app", "delete from muster.audit"),
        ("muster_app", "truncate muster.audit"),
        (
            "muster_app",
            "insert into muster.audit (txid, actor, action, namespace, job_ids) values ('1', '', '', '', '{}')",
        ),
        (
            "muster_app",
            "insert into muster.audit (time, actor, action, namespace, job_ids) values (now(), '', '', '', '{}')",
        ),
        ("muster_app", "update muster.audit_seals set rows = 0"),
        ("muster_app", "delete from muster.audit_seals"),
        ("muster_app", "delete from muster.jobs"),
        ("muster_app", "delete from muster.events"),
        ("muster_app", "update muster.events set actor = 'nobody'"),
        ("muster_app", "drop table muster.jobs"),
        ("muster_app", "create table muster.other (id int)"),
        ("muster_readonly", "update muster.jobs set priority = 100"),
        ("muster_readonly", "select * from muster.idempotency_keys"),
        ("muster_readonly", "select muster.drop_event_partitions(now())"),
    ],
)
def test_what_a_role_may_not_do(database_url: str, role: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_user_who_may_make_databases_and_roles_but_no_more_can_migrate(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("create role deployer login createdb createrole password 'only-for-tests'")
        connection.execute("grant muster_migrator to deployer")
        connection.execute("create database deployed owner deployer")
    url = postgres.url("deployed", user="deployer")
    try:
        upgrade(url)
        assert schema_status(url).is_current
    finally:
        postgres.drop_database("deployed")
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute("drop role deployer")
