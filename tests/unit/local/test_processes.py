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

from bones.pids import lives
from muster_local.processes import (
    ProcessRecord,
    await_gone,
    end,
    family,
    is_running,
    send_signal,
    send_signal_to_all,
    spawn,
)

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


def test_a_process_that_becomes_another_is_known_by_what_it_became(tmp_path: Path) -> None:
    prefix = ["/usr/bin/env", "--chdir=/", "/usr/bin/env"]
    command = [sys.executable, "-c", SLEEPER]
    record = spawn(command, dict(os.environ), tmp_path / "log", prefix=prefix)
    try:
        assert record.command == command
        assert is_running(record)
    finally:
        end([record], 0.0)


def test_a_prefix_that_fails_leaves_a_process_that_does_not_run(tmp_path: Path) -> None:
    record = spawn(["/nothing"], {}, tmp_path / "log", prefix=["/usr/bin/env", "--chdir=/no/such/folder"])
    assert not is_running(record)


def test_children_with_sessions_of_their_own_are_signalled_where_the_record_says_so(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True).wait()"
    )
    log = tmp_path / "log"
    record = spawn([sys.executable, "-c", script, SLEEPER], dict(os.environ), log)
    while "up" not in log.read_text():
        time.sleep(0.01)
    assert len(family(record)) == 1
    apart = msgspec.structs.replace(record, children_apart=True)
    parent, child = family(apart)
    assert send_signal_to_all(apart, signal.SIGKILL)
    await_gone([parent, child], 10.0)
    assert not lives(child.pid)


def test_a_process_is_asked_to_end_by_the_signal_that_it_understands(tmp_path: Path) -> None:
    # Says that it is up where it already waits for the signal: one that came before would end it without a word. And it
    # asks for the signal, which whoever runs these tests in the background has made all their children ignore.
    prepare = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    wait = "try:\n    print('up', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('bye')"
    record = start(tmp_path, f"import signal, time\n{prepare}\n{wait}")
    end([msgspec.structs.replace(record, polite_signal=signal.SIGINT)], 10.0)
    assert "bye" in (tmp_path / "log").read_text()
