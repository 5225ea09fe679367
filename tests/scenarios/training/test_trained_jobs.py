"""AIJobs whose members are real processes: they train, are killed, and go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bones.job_stage import JobStage, status_of
from bones.names import GPU
from bones.trained_jobs import FollowedLog

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

Follow = Callable[[str], FollowedLog]

EXAMPLE = Path(__file__).parents[2] / "integration" / "webhook" / "examples" / "aijob.yaml"
SIZE = 2
STEPS = 44
SAVED_EACH = 5
KILLED_AT = 12
RESOURCES = {"requests": {"cpu": "1", "memory": "512Mi", GPU: "1"}}
CONFIG = {"epochs": 2, "hidden_width": 48, "log_interval": 1, "checkpoint_interval": SAVED_EACH}
SECONDS = 120


def train(jobs: JobStage, name: str, **config: Any) -> None:
    retries = {"maxRetries": 1, "backoffSeconds": 1}
    jobs.create(name, SIZE, config=CONFIG | config, resources=RESOURCES, retryPolicy=retries)


def started(jobs: JobStage, follow: Follow, name: str, attempt: int, rank: int = 0) -> FollowedLog:
    """The log of one rank of this attempt, once all ranks run."""
    wanted = {"phase": "Running", "attempt": attempt, "ready": f"{SIZE}/{SIZE}"}
    jobs.wait(name, lambda job: wanted.items() <= status_of(job).items(), timeout=SECONDS, what=f"{name} {attempt}")
    return follow(f"{name}-{attempt}-{rank}")


def test_losses_of_a_gang_that_was_killed_and_retried_are_those_of_the_uninterrupted_run(
    jobs: JobStage, follow: Follow
) -> None:
    train(jobs, "whole")
    whole = started(jobs, follow, "whole", 1)
    # Both at once: they have other addresses, names and checkpoints, and nothing in common.
    train(jobs, "killed", step_delay_ms=100)
    killed = started(jobs, follow, "killed", 1)
    lost = started(jobs, follow, "killed", 1, rank=1)
    killed.await_event("step", lambda event: event["step"] >= KILLED_AT)
    os.kill(lost.await_event("started")["process"], signal.SIGKILL)
    resumed = started(jobs, follow, "killed", 2)
    jobs.wait_phase("killed", "Succeeded", timeout=SECONDS)
    jobs.wait_phase("whole", "Succeeded", timeout=SECONDS)
    for log in (whole, killed, resumed):
        log.await_end()

    status = status_of(jobs.job("killed"))
    assert status["retries"] == 1
    assert status["attempts"][0]["failure"] == "exitCode"
    # Whichever is seen first: the one that was killed, or the one that lost its peer.
    assert status["attempts"][0]["exitCode"] in (137, 1)
    taken_up = resumed.await_event("resumed")["step"]
    assert taken_up >= KILLED_AT - SAVED_EACH
    assert min(resumed.losses()) == taken_up + 1
    assert sorted(whole.losses()) == list(range(1, STEPS + 1))
    assert killed.losses() | resumed.losses() == whole.losses()
    assert resumed.await_event("finished")["accuracy"] == whole.await_event("finished")["accuracy"] >= 0.85


def test_the_example_of_the_specification_computes_for_real(jobs: JobStage) -> None:
    jobs.kubectl("-n", jobs.namespace, "apply", "-f", str(EXAMPLE))
    jobs.wait_phase("inference-job-001", "Succeeded", timeout=SECONDS)
    log = jobs.kubectl("-n", jobs.namespace, "logs", "inference-job-001-1-0")
    assert '"event":"finished"' in log
    assert '"accuracy"' in log
