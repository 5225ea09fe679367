"""Named places where a test can kill, stop or fail this process; off unless MUSTER_FAILPOINTS is set.

The variable holds `name@k=action;...`: at the k-th hit (default the first) of that name do `kill` (SIGKILL to itself),
`pause` (SIGSTOP, until somebody sends SIGCONT) or `raise`. With MUSTER_FAILPOINTS_LOG as well, each hit is appended to
that file as `name k action`, before the action: tests read there which points a run has reached.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from muster_kube.errors import KubeError

VARIABLE: Final = "MUSTER_FAILPOINTS"
LOG_VARIABLE: Final = "MUSTER_FAILPOINTS_LOG"


class FailpointError(KubeError):
    """Raised by a failpoint on request of a test."""


class Action(StrEnum):
    KILL = "kill"
    PAUSE = "pause"
    RAISE = "raise"


class Hit(Protocol):
    """What code under test calls at a step; `count` is the k of the k-th hit where the caller counts itself."""

    async def __call__(self, name: str, count: int | None = None) -> None: ...


def parse(text: str) -> dict[tuple[str, int], Action]:
    """Reads `name@k=action;...`; raises ValueError with what is wrong."""
    return dict(_parse_one(entry.strip()) for entry in text.split(";") if entry.strip())


def _parse_one(entry: str) -> tuple[tuple[str, int], Action]:
    place, separator, action = entry.partition("=")
    name, _, count = place.strip().partition("@")
    if not separator or not name or (count and not count.isdigit()):
        raise ValueError(f"{VARIABLE}: {entry!r} is not name@k=kill|pause|raise")
    return (name, int(count or 1)), Action(action.strip())


@dataclass(slots=True)
class Failpoints:
    """The points that one process is to fail at, and how often each name was reached."""

    actions: Mapping[tuple[str, int], Action]
    log: Path | None = None
    hits: Counter[str] = field(default_factory=Counter)

    async def hit(self, name: str, count: int | None = None) -> None:
        self.hits[name] += 1
        reached = self.hits[name] if count is None else count
        action = self.actions.get((name, reached))
        self._record(name, reached, action)
        if action is not None:
            _act(action, name, reached)

    def _record(self, name: str, reached: int, action: Action | None) -> None:
        if self.log is None:
            return
        # One unbuffered write with O_APPEND: several processes share the file and the next line may be a SIGKILL.
        with self.log.open("ab", buffering=0) as file:
            file.write(f"{name} {reached} {action or '-'}\n".encode())


def _act(action: Action, name: str, reached: int) -> None:
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.PAUSE:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Action.RAISE:
            raise FailpointError(f"failpoint {name}, hit {reached}")


async def _pass(name: str, count: int | None = None) -> None:
    """Off: nothing to do and nothing to look up."""


def from_environment(environment: Mapping[str, str]) -> Hit:
    """The `hit` of this process: a no-op unless the environment names failpoints."""
    text = environment.get(VARIABLE)
    if not text:
        return _pass
    log = environment.get(LOG_VARIABLE)
    return Failpoints(parse(text), Path(log) if log else None).hit


hit: Final[Hit] = from_environment(os.environ)
