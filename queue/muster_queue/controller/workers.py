"""Runs the steps of gangs and pods: one after the other for each, side by side for different ones."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from muster_kube.errors import Invalid, KubeError
from muster_queue.controller.attention import Attention
from muster_queue.controller.backlog import Owner
from muster_queue.controller.gang_writer import LostFenceError
from muster_queue.controller.metrics import Metrics

log = structlog.get_logger(__name__)

AFTER_API_ERROR: Final = 1.0
AFTER_POISON: Final = 10.0


class Workers:
    """What fails for one gang is logged, counted and tried again later; it never stops the rest."""

    def __init__(self, attention: Attention, metrics: Metrics) -> None:
        self._attention = attention
        self._metrics = metrics
        self._tasks: asyncio.TaskGroup | None = None
        self._busy: set[Owner] = set()

    def work_in(self, tasks: asyncio.TaskGroup) -> None:
        """Steps started from now on run in this group and end with it."""
        self._tasks = tasks

    def is_busy(self, owner: Owner) -> bool:
        return owner in self._busy

    def start(self, owner: Owner, step: Coroutine[Any, Any, object]) -> None:
        """Begins a step; when it has ended its owner is looked at again."""
        assert self._tasks is not None and owner not in self._busy
        self._busy.add(owner)
        task = self._tasks.create_task(self._run(owner, step))
        # A leader that steps down cancels what has not begun, and nobody would ever await its step.
        task.add_done_callback(lambda _: step.close())

    @contextmanager
    def containing(self, owner: Owner) -> Iterator[None]:
        """What a poisoned object raises ends here."""
        try:
            yield
        except Exception:
            self.set_aside(owner)

    async def _run(self, owner: Owner, step: Coroutine[Any, Any, object]) -> None:
        pause = 0.0
        try:
            await step
        except LostFenceError:
            raise
        except KubeError as error:
            log.warning("step failed", owner=owner, error=str(error))
            pause = AFTER_POISON if isinstance(error, Invalid) else AFTER_API_ERROR
        except Exception:
            self.set_aside(owner)
            pause = AFTER_POISON
        finally:
            self._busy.discard(owner)
        self._attention.recheck(owner, pause)

    def set_aside(self, owner: Owner) -> None:
        """Leaves it alone for a while, and says so with the exception that is being handled."""
        log.exception("object cannot be handled and is left aside for now", owner=owner)
        self._metrics.object_errors.inc()
        self._attention.recheck(owner, AFTER_POISON)
