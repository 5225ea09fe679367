"""The queue service while its processes are killed at random: no job is lost, none is doubled; the soak has more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bones.control_plane import Faults, Kubectl
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.kube import Kube
from bones.queue_campaign import Campaign, campaign_cluster
from bones.stage import Stage
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KILLS = 12
JOBS = 60
PAUSE_SECONDS = 1.0
REST_SECONDS = 150
SEED = "queue 1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with campaign_cluster(tmp_path_factory.mktemp("queue-campaign")) as running:
        yield running


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
    made = JobStage(stage)
    yield made
    stage.clear()
    made.strike()


def test_no_job_is_lost_and_none_is_doubled(jobs: JobStage, faults: Faults, cluster: Cluster, tmp_path: Path) -> None:
    jobs.stage.add_nodes(4)
    campaign = Campaign(cluster, jobs, faults, tmp_path, SEED)
    campaign.run(KILLS, JOBS, PAUSE_SECONDS, REST_SECONDS)
