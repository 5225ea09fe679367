"""Starting a store as a process that outlives its starter, and asking whether it answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from muster_local.processes import ProcessRecord, spawn
from muster_local.stores.postgres_server import postgres_answers, prepare_postgres
from muster_local.stores.prepared import PreparedStore
from muster_local.stores.redis_server import prepare_redis, redis_answers

_PREPARE: dict[str, Callable[[Path, int], PreparedStore]] = {"postgres": prepare_postgres, "redis": prepare_redis}


def start_store(store: str, folder: Path, port: int, log: Path) -> ProcessRecord:
    """Makes what the store needs in the folder and starts it; whether it answers is asked separately."""
    folder.mkdir(mode=0o700, exist_ok=True)
    prepared = _PREPARE[store](folder, port)
    prefix = prepared.account.prefix(prepared.folder) if prepared.account else ()
    record = spawn(prepared.command, prepared.environment, log, prefix=prefix)
    return msgspec.structs.replace(record, polite_signal=prepared.polite_signal, children_apart=prepared.children_apart)


def store_answers(store: str, folder: Path, port: int, pid: int) -> bool:
    """Whether this very process of the store serves clients."""
    return postgres_answers(folder, pid) if store == "postgres" else redis_answers(folder, port, pid)
