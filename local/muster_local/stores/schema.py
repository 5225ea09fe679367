"""The schema of the queue in a store, and a login for each service with no more rights than it has in production."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from muster_local.errors import LocalError
from muster_local.stores.urls import DATABASE, USER, password_of, read_url, write_url
from muster_queue.storage.migrations.runner import upgrade

APP_ROLE = "muster_app"
_CONNECT_SECONDS = 10


def service_store(service: str) -> str:
    """Under which name the address of Postgres is kept that a service has got."""
    return f"postgres-{service}"


def prepare_schema(folder: Path, services: Sequence[str], *, is_ours: bool) -> None:
    """Brings the schema up. In our own Postgres each service gets a login, in another one the address as given."""
    url = read_url(folder, "postgres")
    if url is None:
        raise LocalError("postgres has no address yet; start it first")
    try:
        upgrade(url)
        for service in services:
            write_url(folder, service_store(service), _login(folder, url, service) if is_ours else url)
    except psycopg.Error as error:
        raise LocalError(f"the schema of the queue cannot be made: {str(error).strip()}") from error


def _login(folder: Path, url: str, service: str) -> str:
    """The address with the login of the service, which is made where it is missing."""
    name, password = f"muster_{service}", password_of(folder, service_store(service))
    with psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection:
        is_there = connection.execute("select from pg_roles where rolname = %s", [name]).fetchone()
        change = sql.SQL("alter role {} login password {}" if is_there else "create role {} login password {}")
        connection.execute(change.format(sql.Identifier(name), sql.Literal(password)))
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(APP_ROLE), sql.Identifier(name)))
    own = f"postgresql://{USER}:{password_of(folder, 'postgres')}@"
    if not url.startswith(own):
        raise LocalError(f"the address of postgres is none of ours; the database is {DATABASE}")
    return f"postgresql://{name}:{password}@{url.removeprefix(own)}"


def store_environment(folder: Path, service: str) -> dict[str, str]:
    """Where a service finds the stores; nothing where there are none."""
    found = {
        "MUSTER_DATABASE_URL": read_url(folder, service_store(service)),
        "MUSTER_REDIS_URL": read_url(folder, "redis"),
    }
    return {name: url for name, url in found.items() if url}
