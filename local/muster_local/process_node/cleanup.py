"""Ends containers without their agent: when the instance goes down, and for pods that are gone."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from muster_local.process_node.attempts import Run, is_supervisor_alive, kill_group
from muster_local.process_node.supervisor.launch import LAUNCH_FILE

_POLL_SECONDS: Final = 0.02
_INSIST_SECONDS: Final = 5.0


def end_all_pods(root: Path, grace: float) -> int:
    """Ends every container of every process node below `root`; answers how many there were."""
    return _end(_runs(root.glob(f"*/pods/*/containers/*/*/{LAUNCH_FILE}")), grace)


def end_pod(folder: Path, grace: float) -> int:
    """Ends the containers of one pod."""
    return _end(_runs(folder.glob(f"containers/*/*/{LAUNCH_FILE}")), grace)


def _runs(launches: Iterable[Path]) -> list[Run]:
    runs = [Run(path.parent, int(path.parent.name)) for path in launches]
    return [run for run in runs if run.is_supervised()]


def _end(runs: list[Run], grace: float) -> int:
    """Politely, then for sure, at last the supervisors themselves, whose children die with them."""
    for run in runs:
        run.terminate()
    left = _await_end(runs, grace)
    for run in left:
        run.kill()
    left = _await_end(left, _INSIST_SECONDS)
    for run in left:
        _kill_supervisor(run)
    _await_end(left, _INSIST_SECONDS)
    return len(runs)


def _await_end(runs: list[Run], seconds: float) -> list[Run]:
    deadline = time.monotonic() + seconds
    left = [run for run in runs if run.is_supervised()]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        left = [run for run in left if run.is_supervised()]
    return left


def _kill_supervisor(run: Run) -> None:
    running = run.running()
    if running is not None and is_supervisor_alive(running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        kill_group(running)
