"""Whether the service can do its work: the database answers, and its schema is this program's."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from muster_queue.storage.database import Database
from muster_queue.storage.errors import StorageError
from muster_queue.storage.schema import require_schema

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
_UNKNOWN: Final = "the database was not asked yet"


class DatabaseWatch:
    """Looks at the database again and again, so that the probe itself waits for nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._missing: str | None = _UNKNOWN

    def unready(self) -> list[str]:
        """What is missing, if anything is."""
        return [self._missing] if self._missing else []

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            before, self._missing = self._missing, await self._look()
            if self._missing != before:
                log.info("database watched", missing=self._missing)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> str | None:
        try:
            await require_schema(self._database)
        except StorageError as error:
            return str(error)
        return None
