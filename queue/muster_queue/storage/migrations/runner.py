"""Takes the schema to a revision: one migrator at a time, each revision in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, create_engine, pool, text

from muster_queue.storage.settings import connection_string

BASE: Final = "base"
HEAD: Final = "head"
LOCK: Final = 7_305_216_114_001
"""Of all migrators of one database; any number that nobody else uses."""
LOCK_TIMEOUT_SECONDS: Final = 30
CONNECT_TIMEOUT_SECONDS: Final = 10
TOLD_AS_GONE: Final = "(nothing)"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a database stands, and what is still to be applied."""

    revision: str | None
    head: str
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        return self.revision == self.head


def head_revision() -> str:
    """The revision that this program was made for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def schema_status(url: str) -> SchemaStatus:
    """Only looks; nothing is changed."""
    script = ScriptDirectory.from_config(_config())
    with _connect(url) as connection:
        revision = _current(connection)
    pending = tuple(found.revision for found in script.iterate_revisions(HEAD, revision or BASE))
    head = script.get_current_head()
    assert head is not None
    return SchemaStatus(revision, head, pending[::-1])


def upgrade(url: str, target: str = HEAD, tell: Tell = lambda _: None) -> None:
    """Applies what is pending; a second migrator waits and then finds nothing to do."""
    with _migrating(url, tell) as config:
        command.upgrade(config, target)


def downgrade(url: str, target: str, tell: Tell = lambda _: None) -> None:
    """Takes revisions back, with what they hold: for development and for a release that is withdrawn."""
    with _migrating(url, tell) as config:
        command.downgrade(config, target)


@contextmanager
def _migrating(url: str, tell: Tell) -> Iterator[Config]:
    with _connect(url) as connection:
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.exec_driver_sql(_roles(), execution_options={"no_parameters": True})
        connection.commit()
        tell(f"database at {_current(connection) or TOLD_AS_GONE}")
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        config.attributes["on_version_apply"] = _teller(tell)
        yield config
        connection.commit()
        tell(f"done, database at {_current(connection) or TOLD_AS_GONE}")


def _teller(tell: Tell) -> Callable[..., None]:
    def applied(*, step: Any, **_: Any) -> None:
        direction = "up to" if step.is_upgrade else "down from"
        tell(f"{direction} {step.up_revision_id}: {step.up_revision.doc.splitlines()[0]}")

    return applied


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    address = connection_string(url, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name="muster-migrate")
    engine = create_engine("postgresql+psycopg://", poolclass=pool.NullPool, connect_args=conninfo_to_dict(address))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(
        connection, opts={"version_table": "schema_revision", "version_table_schema": "muster"}
    )
    return context.get_current_revision()


def _config() -> Config:
    config = Config()
    folder = resources.files("muster_queue.storage") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _roles() -> str:
    return (resources.files("muster_queue.storage") / "migrations" / "roles.sql").read_text()
