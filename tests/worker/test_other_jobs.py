"""Inference and simulation compute for real; the executable tells what is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the worker's own environment: make worker-tests")

if TYPE_CHECKING:
    from bones.worker_gang import WorkerGang

StartGang = Callable[..., "WorkerGang"]


def run_worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As a kubelet starts it."""
    command = [sys.executable, "-m", "muster_worker", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_executable_trains_alone_and_leaves_a_message(tmp_path: Path) -> None:
    message = tmp_path / "message"
    done = run_worker("train", "--epochs", "2", MUSTER_TERMINATION_LOG=str(message), MUSTER_CONFIG='{"epochs": 99}')
    assert done.returncode == 0, done.stderr
    last = events(done)[-1]
    assert (last["event"], last["epoch"], last["step"]) == ("finished", 2, 88)
    assert message.read_text() == f"finished: epoch 2, step 88, accuracy {last['accuracy']}\n"


def test_the_example_of_the_specification_infers(tmp_path: Path) -> None:
    configuration = '{"model": "resnet50", "batch_size": 32, "rounds": 2}'
    done = run_worker("run", MUSTER_JOB_TYPE="inference", MUSTER_CONFIG=configuration)
    assert done.returncode == 0, done.stderr
    told = {event["event"]: event for event in events(done)}
    assert told["model_substituted"]["asked"] == "resnet50"
    assert told["finished"]["accuracy"] >= 0.85


def test_a_trained_checkpoint_answers_as_in_its_training(start_gang: StartGang, tmp_path: Path) -> None:
    training = start_gang(1, checkpoints=tmp_path / "kept", epochs=2)
    assert training.exit_codes() == [0]
    configuration = json.dumps({"checkpoint": str(tmp_path / "kept"), "rounds": 1})
    inference = start_gang(1, environment={"MUSTER_JOB_TYPE": "inference", "MUSTER_CONFIG": configuration})
    assert inference.exit_codes() == [0]
    expected = training.first.events("finished")[0]["accuracy"]
    assert inference.first.events("finished")[0]["accuracy"] == expected


@pytest.mark.parametrize("content", [None, b"no checkpoint"], ids=["missing", "damaged"])
def test_a_checkpoint_that_cannot_be_read_is_refused(
    start_gang: StartGang, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "given.pt"
    if content is not None:
        path.write_bytes(content)
    configuration = json.dumps({"checkpoint": str(path)})
    gang = start_gang(1, environment={"MUSTER_JOB_TYPE": "inference", "MUSTER_CONFIG": configuration})
    assert gang.exit_codes() == [2]
    assert f"checkpoint: {path} cannot be read" in gang.first.events("refused")[0]["message"]


def test_check_tells_what_is_installed() -> None:
    done = run_worker("check", "-o", "json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["ready"]
    assert found["packages"]["torch"]
    assert "gloo" in found["backends"]


def test_the_digits_are_those_of_scikit_learn() -> None:
    """The file is read past scikit-learn, so its place and form are guarded here."""
    from sklearn.datasets import load_digits as official

    from muster_worker.digits import load_digits

    ours, theirs = load_digits(), official()
    images = np.concatenate([ours.training.images, ours.held_out.images])
    labels = np.concatenate([ours.training.labels, ours.held_out.labels])
    table = np.column_stack([images * 16, labels])
    expected = np.column_stack([theirs.data, theirs.target])
    assert np.array_equal(np.sort(table.view(), axis=0), np.sort(expected, axis=0))
    assert {tuple(row) for row in table} == {tuple(row) for row in expected}
