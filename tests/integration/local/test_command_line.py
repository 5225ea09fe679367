"""The command line as a person or a script uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bones.control_plane import start_cluster
from bones.pids import lives
from muster_local.cluster import Cluster

pytestmark = pytest.mark.cluster


def muster(*arguments: str, state: Path | None = None, code: int = 0) -> str:
    """Runs `muster local ...` and gives what it printed, standard error included when it has to fail."""
    chosen = ["--state-dir", str(state)] if state else []
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    command = [*arguments[:separator], *chosen, *arguments[separator:]]
    done = subprocess.run(
        [sys.executable, "-m", "muster_local.app", "local", *command],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An instance that a first command left behind."""
    folder = tmp_path_factory.mktemp("cli") / "state"
    start_cluster(folder, muster=False, nodes=1)
    yield folder
    Cluster(folder).down()


def read_status(state: Path) -> dict[str, Any]:
    value = json.loads(muster("status", "-o", "json", state=state))
    assert isinstance(value, dict)
    return value


def test_status_has_the_promised_shape(state: Path) -> None:
    status = read_status(state)
    assert status.keys() == {"kubeconfig", "stateDir", "components", "nodes"}
    assert status["stateDir"] == str(state)
    assert status["nodes"] == {"simulated": 1, "process": 0}
    for component in status["components"]:
        assert component.keys() == {"name", "pid", "running", "url"}
        assert component["running"] is True
    assert "kube-scheduler" in muster("status", state=state)


def test_a_stopped_component_has_no_pid(state: Path) -> None:
    muster("stop", "kwok", state=state)
    [kwok] = [entry for entry in read_status(state)["components"] if entry["name"] == "kwok"]
    assert (kwok["pid"], kwok["running"]) == (None, False)
    muster("start", "kwok", state=state)
    assert "runs already" in muster("start", "kwok", state=state, code=1)


def test_the_shell_has_a_kubectl_that_talks_to_this_instance(state: Path) -> None:
    answer = muster("shell", "--", "kubectl", "get", "nodes", "-o", "name", state=state)
    assert answer.split() == ["node/node-0"]
    muster("shell", "--", "sh", "-c", "exit 7", state=state, code=7)
    assert "no program" in muster("shell", "--", "no-such-program", state=state, code=1)


def test_kubeconfig_prints_one_path(state: Path) -> None:
    path = Path(muster("kubeconfig", state=state).strip())
    assert path == state / "kubeconfigs" / "admin.yaml"
    assert path.stat().st_mode & 0o077 == 0


def test_logs_end_where_the_file_ends(state: Path) -> None:
    log = (state / "logs" / "kube-apiserver.log").read_text().splitlines()
    printed = muster("logs", "kube-apiserver", "--tail", "3", state=state).splitlines()
    assert len(printed) == 3
    assert printed[0] in log
    assert "components are" in muster("logs", "apiserver", state=state, code=1)


def test_wrong_usage_and_missing_instances_have_their_codes(tmp_path: Path) -> None:
    assert "muster local up" in muster("status", state=tmp_path / "none", code=1)
    muster("up", "--nodes", "many", state=tmp_path / "none", code=2)
    muster("levitate", code=2)
    muster("down", state=tmp_path / "none")


def test_the_doctor_has_an_answer_for_every_part(tmp_path: Path) -> None:
    findings = json.loads(muster("doctor", "-o", "json", state=tmp_path))
    subjects = {finding["subject"] for finding in findings}
    assert {"etcd", "kubectl", "go", "ports", "cache folder", "state folder", "memory"} <= subjects
    assert all(finding["remedy"] for finding in findings if finding["verdict"] == "error")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_ctrl_c_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "muster_local.app", "local", "up", "--no-muster", "--nodes", "1"]
    process = subprocess.Popen(
        [*command, "--state-dir", str(state)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    with process.stderr:
        assert any("running" in line for line in process.stderr)
        pids = [component.pid for component in Cluster(state).status().components]
        assert all(pids)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    assert not any(map(lives, pids))


def test_a_killed_start_can_still_be_ended(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "muster_local.app", "local", "up", "--no-muster", "--state-dir", str(state)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ))
    deadline = time.monotonic() + 30
    while not (state / "logs" / "kube-apiserver.log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    while len(recorded := recorded_pids(state)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    muster("down", "--purge", state=state)
    assert not any(map(lives, recorded))
    assert not state.exists()


def recorded_pids(state: Path) -> list[int]:
    file = state / "instance.json"
    processes = json.loads(file.read_text())["processes"] if file.exists() else {}
    return [process["pid"] for process in processes.values()]
