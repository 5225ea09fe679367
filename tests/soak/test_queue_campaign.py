"""The whole queue service under hundreds of kills: every job that was acknowledged exists once, and has ended once.

Clients submit over REST, send again what was lost, cancel, hold, release, retry and weigh; warm workers and simulated
nodes do the jobs. Meanwhile api, controller, workers, Postgres and Redis are killed at random, and Redis is emptied.
Settings: MUSTER_SOAK_QUEUE_KILLS (200), MUSTER_SOAK_QUEUE_JOBS (a client's share of so many in all, 1500),
MUSTER_SOAK_QUEUE_PAUSE (seconds between two strokes on average, 1.5), MUSTER_SOAK_SEED.
"""

from __future__ import annotations

import os
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

KILLS = int(os.environ.get("MUSTER_SOAK_QUEUE_KILLS", "200"))
JOBS = int(os.environ.get("MUSTER_SOAK_QUEUE_JOBS", "1500"))
PAUSE_SECONDS = float(os.environ.get("MUSTER_SOAK_QUEUE_PAUSE", "1.5"))
SEED = os.environ.get("MUSTER_SOAK_SEED", "muster")
REST_SECONDS = 600
STROKE_SECONDS = 20

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.soak,
    pytest.mark.timeout(2 * REST_SECONDS + KILLS * STROKE_SECONDS + 600),
]


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


def test_hundreds_of_kills_lose_no_job_and_double_none(
    jobs: JobStage, faults: Faults, cluster: Cluster, tmp_path: Path
) -> None:
    jobs.stage.add_nodes(8)
    campaign = Campaign(cluster, jobs, faults, tmp_path, SEED)
    campaign.run(KILLS, JOBS, PAUSE_SECONDS, REST_SECONDS)
