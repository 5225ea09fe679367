"""Keeps a cancellation from being lost on its way to whoever has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

AGAIN_SECONDS: Final = 5.0


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Around what may swallow a cancellation: one that came within is raised at the end of it.

    Python 3.11's `wait_for` swallows what comes in the same moment as its result, and libraries rest on it.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels them, again and again until each has ended; what they end with is not looked at."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
