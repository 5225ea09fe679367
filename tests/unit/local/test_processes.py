"""Ending exactly the processes that were started."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from muster_local.processes import ProcessRecord, end, is_running, send_signal, spawn

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(60)"
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPER}"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[ProcessRecord]:
    record = start(tmp_path, SLEEPER)
    yield record
    end([record], 0.0)


def start(folder: Path, script: str) -> ProcessRecord:
    log = folder / "log"
    record = spawn([sys.executable, "-c", script], dict(os.environ), log)
    deadline = time.monotonic() + 10
    while "up" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return record


def test_a_started_process_runs_in_a_session_of_its_own(started: ProcessRecord) -> None:
    assert is_running(started)
    assert os.getsid(started.pid) == started.pid


def test_a_process_ends_politely(started: ProcessRecord) -> None:
    end([started], 5.0)
    assert not is_running(started)


def test_a_stubborn_process_is_killed(tmp_path: Path) -> None:
    record = start(tmp_path, STUBBORN)
    end([record], 0.1)
    assert not is_running(record)


def test_a_paused_process_ends_too(started: ProcessRecord) -> None:
    assert send_signal(started, signal.SIGSTOP)
    end([started], 5.0)
    assert not is_running(started)


@pytest.mark.parametrize(
    "change",
    [{"started": 12345.0}, {"command": ["/bin/kube-apiserver", "--secure-port=1"]}],
    ids=["it started at another time", "it is another program"],
)
def test_a_process_that_only_has_the_same_id_is_left_alone(started: ProcessRecord, change: dict[str, object]) -> None:
    other = msgspec.structs.replace(started, **change)
    assert not is_running(other)
    assert not send_signal(other, signal.SIGKILL)
    end([other], 0.0)
    assert is_running(started)


def test_a_dead_child_is_reaped(started: ProcessRecord) -> None:
    os.kill(started.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while is_running(started) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)
