"""What the processes of a job have logged, read with kubectl as a user does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bones.control_plane import Kubectl

PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.05

Event = dict[str, Any]


class FollowedLog:
    """The log of one pod, followed into a file, so that it outlives the pod."""

    def __init__(self, kubectl: Kubectl, namespace: str, pod: str, folder: Path) -> None:
        self.path = folder / f"{pod}.log"
        with self.path.open("wb") as file:
            line = kubectl.line("-n", namespace, "logs", "-f", pod)
            self._reading = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)

    def events(self, name: str) -> list[Event]:
        """What torch itself writes, and a line that is not whole yet, are left out."""
        lines = self.path.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith('{"time"') and line.endswith("}")]
        return [event for event in found if event["event"] == name]

    def losses(self) -> dict[int, float]:
        """By step, exactly as logged."""
        return {event["step"]: event["loss"] for event in self.events("step")}

    def await_event(self, name: str, wanted: Callable[[Event], bool] = lambda event: True) -> Event:
        """The first such event, once it is there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = next(filter(wanted, self.events(name)), None)
            if found is not None:
                return found
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"no {name} in {self.path.read_text()}")

    def await_end(self) -> None:
        """Until the process has ended and all its lines are here."""
        self._reading.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self._reading.kill()
        self._reading.wait()
