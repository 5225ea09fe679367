"""What every Muster process does around its own work: uvloop, JSON logs, signals, garbage collection, exit status."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Literal

import structlog
import uvloop
from pydantic import BeforeValidator

from muster_kube.supervision import Supervisor

log = structlog.get_logger(__name__)

Main = Callable[[Supervisor], Coroutine[Any, Any, None]]

LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
"""A setting; large and small letters are the same. Anything else is refused before a process begins."""

CRASHED: Final = 1
DEEPEST_OBJECT: Final = 15_000
"""Levels of JSON that have to be read: the API server takes 10,000, and what it takes nobody may stumble over."""
GARBAGE_THRESHOLD: Final = 50_000


def run(service: str, main: Main, *, log_level: LogLevel = "INFO") -> int:
    """Runs `main` until it returns, SIGTERM or SIGINT comes, or a supervised task crashes; returns the exit status.

    `main` starts its tasks on the supervisor and normally ends with `await supervisor.wait()`.
    """
    configure_logging(service, log_level)
    sys.setrecursionlimit(DEEPEST_OBJECT)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_supervised(main))
    except Exception:
        log.exception("process ends after a crash")
        return CRASHED
    log.info("stopped")
    return 0


async def _supervised(main: Main) -> None:
    async with Supervisor() as supervisor:
        _stop_on_signals(supervisor)
        await main(supervisor)


def _stop_on_signals(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        # A second signal finds the default action: whoever insists is obeyed.
        for handled in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(handled)
        supervisor.stop()

    for handled in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(handled, stop, handled)


def configure_logging(service: str, level: LogLevel = "INFO") -> None:
    """One JSON object a line on stderr, from structlog and from the standard library alike."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def settle_garbage() -> None:
    """Call it once caches are synced: what lives for ever is taken out of the collector's sight.

    A full collection over tens of thousands of cached objects stops the loop for more than 100 ms otherwise.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 100)
