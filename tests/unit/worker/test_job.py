"""The executable without torch: simulation, refusals, and what it says about itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from muster_api.jobs import FailureClass
from muster_queue.jobs.failures import PodState, classify
from muster_worker.__main__ import main
from muster_worker.errors import RefusedError
from muster_worker.job import job_type_from

WITHOUT_TORCH = find_spec("torch") is None


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "muster_worker", *arguments]


def run_worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=os.environ | environment, capture_output=True, text=True, check=False
    )


def last_event(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_a_simulation_comes_close_to_pi(tmp_path: Path) -> None:
    message = tmp_path / "message"
    done = run_worker(
        "run",
        MUSTER_JOB_TYPE="simulation",
        MUSTER_CONFIG='{"rounds": 4, "samples_per_round": 100000}',
        MUSTER_TERMINATION_LOG=str(message),
        MUSTER_JOB="circle",
        MUSTER_ATTEMPT="2",
    )
    assert done.returncode == 0, done.stderr
    last = last_event(done)
    assert (last["event"], last["job"], last["attempt"], last["samples"]) == ("finished", "circle", "2", 400_000)
    assert last["error"] < 5 * last["standard_error"]
    assert message.read_text().startswith("finished: samples 400000, estimate 3.1")


def test_a_refusal_is_told_everywhere(tmp_path: Path) -> None:
    message = tmp_path / "message"
    configuration = {"MUSTER_JOB_TYPE": "training", "MUSTER_CONFIG": '{"epochs": -1}'}
    done = run_worker("run", MUSTER_TERMINATION_LOG=str(message), **configuration)
    assert done.returncode == 2
    said = "epochs: expected `int` >= 1"
    assert last_event(done)["event"] == "refused"
    assert said in last_event(done)["message"]
    assert said in done.stderr
    assert said in message.read_text()
    assert len(message.read_text().splitlines()) == 1
    assert classify(PodState(exit_code=done.returncode, message=message.read_text())) is FailureClass.VALIDATION


@pytest.mark.parametrize("named", ["", "mining"])
def test_an_unknown_type_of_job_is_refused(named: str) -> None:
    with pytest.raises(RefusedError, match=f"MUSTER_JOB_TYPE: expected one of .*training, got '{named}'"):
        job_type_from({"MUSTER_JOB_TYPE": named})


def test_an_unknown_option_is_refused_with_the_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    message = tmp_path / "message"
    monkeypatch.setenv("MUSTER_TERMINATION_LOG", str(message))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--epoch", "3"])
    assert ended.value.code == 2
    assert "--epoch" in capsys.readouterr().err
    assert message.read_text() == "refused: unrecognized arguments: --epoch 3\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["run", "--help"], ["check", "--help"]])
def test_help_is_there_for_everything(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: muster-worker" in capsys.readouterr().out


def test_sigterm_ends_a_simulation_with_143(tmp_path: Path) -> None:
    message = tmp_path / "message"
    environment = os.environ | {
        "MUSTER_JOB_TYPE": "simulation",
        "MUSTER_CONFIG": '{"rounds": 1000, "samples_per_round": 10, "step_delay_ms": 60000}',
        "MUSTER_TERMINATION_LOG": str(message),
    }
    with subprocess.Popen(command("run"), env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "started" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 143
    assert "ended by SIGTERM" in message.read_text()


def test_a_log_that_nobody_reads_any_more_does_not_end_the_work() -> None:
    environment = os.environ | {"MUSTER_JOB_TYPE": "simulation", "MUSTER_CONFIG": '{"samples_per_round": 10}'}
    with subprocess.Popen(command("run"), env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(90) == 0


@pytest.mark.skipif(not WITHOUT_TORCH, reason="torch is installed here")
def test_without_torch_it_says_what_is_missing() -> None:
    checked = run_worker("check", "-o", "json")
    assert checked.returncode == 1
    found = json.loads(checked.stdout)
    assert not found["ready"]
    assert "torch" in found["missing"]
    assert "make worker" in found["remedy"]
    trained = run_worker("train")
    assert trained.returncode == 2
    assert "make worker" in last_event(trained)["message"]
