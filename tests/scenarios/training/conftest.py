"""A control plane with process nodes, on which the worker's own environment has to be there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bones.control_plane import Kubectl, start_cluster
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.kube import Kube
from bones.process_pods import KIND
from bones.stage import Stage
from bones.trained_jobs import FollowedLog
from muster_local.cluster import Cluster
from muster_local.worker import what_training_lacks


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two process nodes and no simulated ones; without torch a laptop skips and CI fails."""
    lacking = what_training_lacks()
    if lacking and os.environ.get("CI") == "true":
        raise AssertionError(lacking)
    if lacking:
        pytest.skip(f"{lacking}; `make worker` installs it")
    running = start_cluster(
        tmp_path_factory.mktemp("training"), nodes=0, process_nodes=2, process_cpu="8", process_memory="16Gi"
    )
    yield running
    running.down()


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster)


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage, nodes={KIND: "process"})
    yield made
    stage.clear()
    made.strike()


@pytest.fixture
def follow(jobs: JobStage, tmp_path: Path) -> Iterator[Callable[[str], FollowedLog]]:
    """Follows the log of a pod of the stage from now on."""
    logs: list[FollowedLog] = []

    def start(pod: str) -> FollowedLog:
        logs.append(FollowedLog(jobs.kubectl, jobs.namespace, pod, tmp_path))
        return logs[-1]

    yield start
    for log in logs:
        log.close()
