"""Keeps a cancellation from being lost in the client library."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
