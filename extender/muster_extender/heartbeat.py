"""The serving process's side of the watchdog: shows that its event loop turns, and never outlives its parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from typing import Final

FD_VARIABLE: Final = "MUSTER_HEARTBEAT_FD"
PARENT_VARIABLE: Final = "MUSTER_HEARTBEAT_PARENT"
KILLS_VARIABLE: Final = "MUSTER_WATCHDOG_KILLS"
BEAT_SECONDS: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


class Heartbeat:
    """Writes one byte per beat; without a watchdog it beats into the void."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    @classmethod
    def from_environment(cls) -> Heartbeat:
        text = os.environ.get(FD_VARIABLE)
        return cls(int(text) if text else None)

    async def run(self) -> None:
        """Beats as long as the loop turns."""
        if self._fd is not None:
            os.set_blocking(self._fd, False)
        while True:
            self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _beat(self) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, b".")
        except BlockingIOError:
            # The watchdog is stopped and the pipe is full: it reads on when it is continued.
            return


def die_with_parent() -> None:
    """Whoever kills the watchdog, even with SIGKILL, kills the server with it."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)
