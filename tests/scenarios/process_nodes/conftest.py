"""A control plane with two process nodes whose agents may die; their containers need nothing but the machine itself.

It ends with the module: nobody else's time is measured beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.control_plane import Kubectl, start_cluster
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.kube import Kube
from bones.process_pods import KIND
from bones.stage import Stage
from muster_local.cluster import Cluster

GRACE_SECONDS = 10
"""Of the node monitor: a silent node is NotReady after that."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = start_cluster(
        tmp_path_factory.mktemp("process-nodes"),
        nodes=0,
        process_nodes=2,
        process_cpu="8",
        process_memory="16Gi",
        node_grace_seconds=GRACE_SECONDS,
    )
    yield running
    running.down()


@pytest.fixture(scope="module")
def kube(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster)


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage, nodes={KIND: "process"})
    yield made
    stage.clear()
    made.strike()
