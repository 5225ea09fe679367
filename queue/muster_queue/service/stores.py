"""Both stores, opened and closed together: Postgres, which is the truth, and Redis, which may vanish at any moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from muster_queue.index.buckets import TenantBuckets
from muster_queue.index.calls import Calls
from muster_queue.index.connection import IndexSettings
from muster_queue.index.queue_index import QueueIndex
from muster_queue.storage.database import Database
from muster_queue.storage.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """MUSTER_DATABASE_... and MUSTER_REDIS_..."""

    storage: StorageSettings
    index: IndexSettings


@dataclass(frozen=True, slots=True)
class Stores:
    """What repositories and the index are made with; one for each process."""

    settings: StoreSettings
    database: Database
    calls: Calls
    index: QueueIndex
    buckets: TenantBuckets


@asynccontextmanager
async def open_stores(settings: StoreSettings) -> AsyncIterator[Stores]:
    """Opens at once, also where a store is away: connections come when they can, and calls say that they cannot."""
    calls = Calls.to(settings.index)
    try:
        async with Database(settings.storage) as database:
            yield Stores(settings, database, calls, QueueIndex(calls), TenantBuckets(calls))
    finally:
        await calls.close()
