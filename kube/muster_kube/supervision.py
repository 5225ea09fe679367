"""Runs background tasks so that none can die unnoticed: one crash ends the process, with its error logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import structlog

from muster_kube.errors import KubeError

log = structlog.get_logger(__name__)


class TaskEndedError(KubeError):
    """A task that should have run until the process stops has returned."""


class Supervisor:
    """Starts tasks that live as long as the process, and ends them in reverse order when it stops.

    async with Supervisor() as supervisor:
        supervisor.start("pods reflector", pods.run())
        supervisor.start("http", server.run())
        await supervisor.wait()      # until stop(), or raises what a task died of
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._crash: BaseException | None = None

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self, name: str, work: Coroutine[Any, Any, Any], *, may_end: bool = False) -> asyncio.Task[Any]:
        """Runs it from now on; returning counts as a crash unless it `may_end`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended_for_good if may_end else self._ended)
        return task

    def stop(self) -> None:
        """Asks for the end; what SIGTERM calls."""
        self.stopping.set()

    async def wait(self) -> None:
        """Returns once asked to stop; raises what a task crashed with."""
        await self.stopping.wait()
        if self._crash is not None:
            raise self._crash

    async def until(self, awaited: Awaitable[Any]) -> bool:
        """Waits for something during start-up; false when the stop or a crash came first."""
        work = asyncio.ensure_future(awaited)
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return False
            work.result()
            return True
        finally:
            for pending in (work, stopping):
                pending.cancel()

    async def close(self) -> None:
        """Ends the tasks, the last started first, each one wholly before the next."""
        self.stopping.set()
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _ended_for_good(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._ended(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled() and self.stopping.is_set():
            return
        error = None if task.cancelled() else task.exception()
        if error is None and self.stopping.is_set():
            return
        crash = error or TaskEndedError(f"{task.get_name()} ended although nobody asked it to")
        log.error("background task crashed", task=task.get_name(), exc_info=crash)
        self._crash = self._crash or crash
        self.stopping.set()
