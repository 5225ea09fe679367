"""SIGTERM and SIGINT, noticed at once even while the main thread waits for its peers inside of torch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Event, Lock, Thread
from types import FrameType
from typing import NoReturn

from muster_worker.exit_codes import ExitCode
from muster_worker.progress_log import ProgressLog

Rescue = Callable[[], str]
"""Saves what can be saved without the main thread, and says what that was."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Termination:
    """Lets a loop stop in order; a process that has no loop yet, or whose loop does not come round, is ended by force.

    A handler in Python would run only once torch gives the main thread back, which after the loss of a peer is too late
    for a pod's grace period. The interpreter writes the signal's number into a pipe at once; a thread reads it.
    """

    def __init__(self, log: ProgressLog, say: Callable[[str], None]) -> None:
        self._log = log
        self._say = say
        self._requested = Event()
        self._settled = Event()
        self._lock = Lock()
        self._rescue: Rescue | None = None
        self._grace_seconds = 0.0

    def watch(self) -> None:
        """From now on signals are noticed; to be called on the main thread."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, _leave_it_to_the_thread)
        Thread(target=self._attend, args=(reading,), name="termination", daemon=True).start()

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def idle(self, seconds: float) -> None:
        """Waits, but not longer than until a signal comes."""
        self._requested.wait(seconds)

    def entrust(self, rescue: Rescue, grace_seconds: float) -> None:
        """From now on a loop looks at `requested`; `rescue` is for the case that it does not come round in time."""
        with self._lock:
            self._rescue = rescue
            self._grace_seconds = grace_seconds

    def settle(self) -> None:
        """The process is about to end by itself."""
        self._settled.set()

    def _attend(self, reading: int) -> None:
        number = signal.Signals(os.read(reading, 1)[0])
        self._log.info("terminating", signal=number.name)
        with self._lock:
            rescue, grace_seconds = self._rescue, self._grace_seconds
            self._requested.set()
        if rescue is None and not self._settled.is_set():
            self._leave(f"ended by {number.name} before there was anything to save")
        if rescue is not None and not self._settled.wait(grace_seconds):
            self._leave(f"ended by {number.name} without its peers, which did not stop in time: {rescue()}")

    def _leave(self, message: str) -> NoReturn:
        self._log.warning("terminated", message=message, exit_code=int(ExitCode.TERMINATED))
        self._say(message)
        # The main thread may be anywhere inside of torch, so nothing can be taken down in order.
        os._exit(ExitCode.TERMINATED)


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Only with a handler of Python's does the interpreter write into the pipe."""
