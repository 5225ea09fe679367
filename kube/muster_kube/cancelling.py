"""Ends tasks for certain: a cancellation can be lost on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN_SECONDS: Final = 5.0


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels them, again and again until each has ended; what they end with is not looked at."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
