"""A hundred AIJobs of mixed sizes under random deletions and kills of the controller: at rest nothing is left over.

They run on simulated nodes, on process nodes and on both at once. Every real process locks a file with its pod's name,
so that two of one name cannot hide. Settings: MUSTER_SOAK_JOBS (100), MUSTER_SOAK_JOB_ROUNDS (3), MUSTER_SOAK_SEED.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bones.control_plane import Faults, Kubectl, start_cluster, wait_until
from bones.job_campaign import Campaign, Ground
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.kube import Kube
from bones.process_pods import KIND
from bones.stage import Stage, phase_of
from bones.telling import tell
from muster_local.cluster import Cluster

JOBS = int(os.environ.get("MUSTER_SOAK_JOBS", "100"))
ROUNDS = int(os.environ.get("MUSTER_SOAK_JOB_ROUNDS", "3"))
SEED = os.environ.get("MUSTER_SOAK_SEED", "muster")
PROCESS_NODES = 4
CAMPAIGN = "tests.example.com/campaign"
KILLS = 8
REST_SECONDS = 600
GONE_SECONDS = 180

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(REST_SECONDS + GONE_SECONDS + 600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With process nodes, beside which each round puts simulated ones."""
    running = start_cluster(
        tmp_path_factory.mktemp("campaign"),
        nodes=0,
        process_nodes=PROCESS_NODES,
        process_cpu="16",
        process_memory="32Gi",
        process_gpus=16,
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


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_hundred_jobs_come_to_rest(
    stage: Stage, judge: JudgeProcess, faults: Faults, cluster: Cluster, tmp_path: Path, number: int
) -> None:
    jobs = JobStage(stage, nodes={CAMPAIGN: stage.namespace})
    stage.add_nodes(50, gpus=8, labels={CAMPAIGN: stage.namespace})
    campaign = Campaign(jobs, faults, random.Random(f"{SEED} {number}"), _grounds(jobs, tmp_path))
    begin = time.monotonic()
    campaign.create_all(JOBS)
    campaign.hurt(times=JOBS, kills=KILLS, agents=cluster.options().process_node_names)
    hurt = time.monotonic()
    campaign.wait_rest(timeout=REST_SECONDS)
    processes = len(list(tmp_path.glob("job-*")))
    assert processes >= JOBS // 2
    _tell(number, campaign, hurt - begin, time.monotonic() - hurt, processes)
    campaign.delete_all()
    campaign.wait_rest(timeout=GONE_SECONDS)
    root = cluster.layout.process_nodes
    wait_until(lambda: not any(root.glob("*/pods/*")), GONE_SECONDS, "the end of all processes")
    stage.clear()
    jobs.strike()


def _grounds(jobs: JobStage, names: Path) -> list[Ground]:
    """Simulated nodes, process nodes, and a cluster of both whose gangs may span them."""
    own = {CAMPAIGN: jobs.namespace}
    for name in jobs.kube.items("nodes", selector=f"{KIND}=process"):
        jobs.kube.patch("nodes", name, {"metadata": {"labels": own}})
    simulated = jobs.add_cluster("simulated", {**own, "type": "kwok"})
    processes = jobs.add_cluster("processes", {**own, KIND: "process"})
    return [Ground(simulated), Ground(processes, names, is_simulated=False), Ground(jobs.cluster, names)]


def _tell(number: int, campaign: Campaign, hurt: float, rest: float, processes: int) -> None:
    jobs = campaign.jobs.kube.items("aijobs", campaign.jobs.namespace)
    phases = Counter(phase_of(job) for job in jobs.values())
    attempts = sum(job["status"].get("attempt", 0) for job in jobs.values())
    members = sum(order.size for order in campaign.made.values())
    tell(
        f"round {number}: {JOBS} jobs of {members} members, {len(campaign.deleted)} deleted, {campaign.replaced} "
        f"replaced, {len(campaign.cancelled)} cancelled, {KILLS} kills of the controller and one of each agent in "
        f"{hurt:.0f} s; "
        f"at rest after {rest:.0f} s more: {dict(phases)}, {attempts} attempts, {processes} names of real processes"
    )
