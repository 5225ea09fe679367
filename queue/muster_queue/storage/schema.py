"""Which revision of the schema this program was made for, and whether the database has it."""

from __future__ import annotations

from typing import Final

from psycopg import errors

from muster_queue.storage.database import Database
from muster_queue.storage.errors import SchemaMismatch

SCHEMA_REVISION: Final = "0006"
"""The newest of the migrations; a test compares them. Known here so that services need not import alembic."""


async def require_schema(database: Database) -> None:
    """Raises SchemaMismatch where the database is older; a newer one serves the programs of the release before too."""
    try:
        rows = await database.read(b"select version_num from muster.schema_revision", {})
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.InsufficientPrivilege) as error:
        raise SchemaMismatch("the database has no schema of Muster's yet: run `muster-queue migrate up`") from error
    revision = rows[0][0] if rows else "(nothing)"
    if not rows or revision < SCHEMA_REVISION:
        raise SchemaMismatch(
            f"the database is at revision {revision} and not {SCHEMA_REVISION}: run `muster-queue migrate up`"
        )
