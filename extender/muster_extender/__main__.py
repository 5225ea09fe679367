"""The watchdog: starts the server as its child, kills it when its event loop falls silent, and starts it again.

A hung extender stops the whole scheduler at every GPU pod, so silence is cut short here. Any other end of the server is
the end of this process too, in the same way: whoever started it decides what happens next.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import FrameType
from typing import Final

LONGEST_SILENCE: Final = 2.0
LONGEST_START: Final = 60.0
TICK_SECONDS: Final = 0.2


class Child:
    """One serving process and the pipe on which it shows that it lives."""

    def __init__(self, kills: int) -> None:
        self._pipe, writing = os.pipe()
        environment = os.environ | {
            "MUSTER_HEARTBEAT_FD": str(writing),
            "MUSTER_HEARTBEAT_PARENT": str(os.getpid()),
            "MUSTER_WATCHDOG_KILLS": str(kills),
        }
        if kills:
            # A failpoint that stopped the server has done its work; the next one would stop there again.
            environment.pop("MUSTER_FAILPOINTS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "muster_extender.server"], env=environment, pass_fds=(writing,)
        )
        os.close(writing)
        self._has_beaten = False
        self._silence = 0.0

    def close(self) -> None:
        os.close(self._pipe)

    def wait(self) -> bool:
        """Watches for one tick; false once the child has been silent for too long."""
        began = time.monotonic()
        readable, _, _ = select.select([self._pipe], [], [], TICK_SECONDS)
        if readable:
            return self._read()
        # When this process got no turn either, the machine is busy: that is not the child's silence.
        self._silence += min(time.monotonic() - began, 2 * TICK_SECONDS)
        return self._silence < (LONGEST_SILENCE if self._has_beaten else LONGEST_START)

    def _read(self) -> bool:
        beats = os.read(self._pipe, 4096)
        if not beats:
            # The child is about to end, and says how by its exit status.
            self.process.wait()
        self._has_beaten = self._has_beaten or bool(beats)
        self._silence = 0.0
        return True


def main() -> int:
    """Runs until the server ends by itself or a signal asks for it; returns its exit status."""
    if len(sys.argv) > 1:
        # Nothing but --help, which says what the server reads from its environment.
        from muster_extender.server import main as answer_arguments

        return answer_arguments(sys.argv[1:])
    kills = 0
    while True:
        child = Child(kills)
        _forward_signals(child.process)
        while child.process.poll() is None and child.wait():
            pass
        child.close()
        status = child.process.poll()
        if status is not None:
            return _end_like(status)
        child.process.kill()
        child.process.wait()
        kills += 1
        _log("server was silent and has been killed", child.process.pid, kills)


def _forward_signals(process: subprocess.Popen[bytes]) -> None:
    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)


def _end_like(status: int) -> int:
    """The same exit status, or the same signal, as the server ended with."""
    if status >= 0:
        return status
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status


def _log(event: str, pid: int, kills: int) -> None:
    line = {
        "event": event,
        "level": "error",
        "service": "muster-extender",
        "logger": "watchdog",
        "timestamp": datetime.now(UTC).isoformat(),
        "pid": pid,
        "kills": kills,
    }
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
