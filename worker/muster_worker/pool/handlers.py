"""What a warm worker can do: a handler for each type of job, run in a thread and asked to report as it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from threading import Event
from typing import Any

import msgspec

from muster_worker.errors import RefusedError
from muster_worker.option_reading import CONFIGURATION, Options, read_options


class GivenUpError(Exception):
    """Nobody waits for this attempt any more, or the worker stops: raised inside of the handler."""


class Report:
    """Between a handler in its thread and the worker in its loop."""

    def __init__(self) -> None:
        self._given_up = Event()
        self.share: float | None = None

    def progress(self, share: float) -> None:
        """To be called after each step; raises GivenUpError where going on is of no use."""
        self.share = min(1.0, max(0.0, share))
        if self._given_up.is_set():
            raise GivenUpError

    def idle(self, seconds: float) -> None:
        """Waits, but not longer than the attempt is of use."""
        if self._given_up.wait(seconds):
            raise GivenUpError

    def give_up(self) -> None:
        self._given_up.set()


Handler = Callable[[Mapping[str, Any], Report], dict[str, Any]]


def options_of(kind: type[Options], config: Mapping[str, Any]) -> Options:
    """The options of a job from its configuration; everything wrong is named at once."""
    return read_options(kind, {CONFIGURATION: msgspec.json.encode(config).decode()}, {})


def _simulate(config: Mapping[str, Any], report: Report) -> dict[str, Any]:
    from muster_worker.pool.simulating import simulate

    return simulate(config, report)


def _infer(config: Mapping[str, Any], report: Report) -> dict[str, Any]:
    from muster_worker.pool.inferring import infer

    return infer(config, report)


HANDLERS: Mapping[str, Handler] = {"simulation": _simulate, "inference": _infer}
"""Each imports what it needs when it is first used: a simulation never waits for a model's libraries."""
_NEEDS: Mapping[str, tuple[str, ...]] = {"simulation": ("numpy",), "inference": ("numpy", "sklearn")}


def available() -> list[str]:
    """The types of job whose packages are installed."""
    return [name for name in HANDLERS if all(find_spec(package) for package in _NEEDS[name])]


def chosen_types(asked: list[str] | None) -> list[str]:
    """Those asked for, or all that can be done here."""
    found = available()
    for name in asked or []:
        if name not in HANDLERS:
            raise RefusedError(f"--job-type: {name!r} is none of {', '.join(HANDLERS)}")
        if name not in found:
            raise RefusedError(f"--job-type: {name} needs {', '.join(_NEEDS[name])}, which are not all installed")
    types = list(dict.fromkeys(asked or found))
    if not types:
        raise RefusedError("nothing can be run here: not even numpy is installed")
    return types
