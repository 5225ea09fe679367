"""The stores without a control plane, for tests and benchmarks of what needs nothing else."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from muster_local.errors import LocalError
from muster_local.processes import ProcessRecord, await_gone, end, family, is_running, reap, send_signal
from muster_local.readiness import await_ready
from muster_local.stores.homes import remove_postgres_home
from muster_local.stores.starting import start_store, store_answers
from muster_local.stores.urls import read_url

BOTH = ("postgres", "redis")
_GRACE_SECONDS = 10.0


class StandaloneStores:
    """Started on entry, ended on exit; the folder keeps data and addresses, and what lies elsewhere is removed."""

    def __init__(self, folder: Path, stores: Sequence[str] = BOTH) -> None:
        self.folder = folder
        self._ports = dict(zip(stores, _free_ports(len(stores)), strict=True))
        self._records: dict[str, ProcessRecord] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            for store in self._ports:
                self.start(store)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, store: str) -> str:
        """Where the store answers, with its password."""
        url = read_url(self.folder, store)
        if url is None:
            raise LocalError(f"{store} was never started")
        return url

    def pid(self, store: str) -> int:
        return self._records[store].pid

    def start(self, store: str) -> None:
        """Returns when it answers; what it had is there again."""
        log = self.folder / f"{store}.log"
        record = start_store(store, self.folder, self._ports[store], log)
        self._records[store] = record
        await_ready(store, record, partial(store_answers, store, self.folder, self._ports[store], record.pid), log)

    def kill(self, store: str) -> None:
        """As when the machine dies; returns when all of it is gone."""
        record = self._records[store]
        members = family(record)
        send_signal(record, signal.SIGKILL)
        await_gone(members, _GRACE_SECONDS)
        reap(record.pid)

    def stop(self, store: str) -> None:
        """Ends it in good order."""
        end([self._records[store]], _GRACE_SECONDS)

    def close(self) -> None:
        """Ends what still runs."""
        end([record for record in self._records.values() if is_running(record)], _GRACE_SECONDS)
        remove_postgres_home(self.folder)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]
