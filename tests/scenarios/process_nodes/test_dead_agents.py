"""Nodes whose kubelet dies under a gang of real processes: nobody finishes the pods there, and nothing waits for it."""

from __future__ import annotations

import pytest

from bones.control_plane import Faults, wait_until
from bones.job_stage import JobStage, status_of
from bones.kube import Items
from bones.names import GPU
from bones.stage import bound
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

QUEUE = "research"
GPUS = 4
"""Of each node."""
SIZE = 2 * GPUS
DEAD = "process-node-1"
LOSS_SECONDS = 240
RESOURCES = {"requests": {"cpu": "1", "memory": "64Mi", GPU: "1"}}


def create(jobs: JobStage, name: str, size: int) -> None:
    command = ["sleep", "600"]
    jobs.create(
        name,
        size,
        queue=QUEUE,
        image="muster-host",
        command=command,
        resources=RESOURCES,
        retryPolicy={"maxRetries": 0},
    )


def wait_whole(jobs: JobStage, name: str, size: int, attempt: int = 1) -> None:
    """Until all its processes run."""
    wanted = {"phase": "Running", "attempt": attempt, "ready": f"{size}/{size}"}
    jobs.wait(name, lambda job: wanted.items() <= status_of(job).items(), timeout=90, what=f"{name} {wanted}")


def on_dead_node(pods: Items) -> Items:
    return {name: pod for name, pod in pods.items() if pod["spec"].get("nodeName") == DEAD}


def are_all_going(pods: Items) -> bool:
    return all(pod["metadata"].get("deletionTimestamp") for pod in pods.values())


def test_pods_that_a_dead_kubelet_cannot_finish_hold_no_quota_for_ever(
    jobs: JobStage, faults: Faults, cluster: Cluster
) -> None:
    """Scenario 26: the whole gang is requeued; others get its room and quota, and it runs again with the node."""
    jobs.queue(QUEUE, maxConcurrency=1)
    create(jobs, "train", SIZE)
    wait_whole(jobs, "train", SIZE)
    jobs.wait_counts(QUEUE, running=1, pending=0, gpus=SIZE)
    stuck = on_dead_node(jobs.pods("train"))
    assert len(stuck) == GPUS
    faults.kill(DEAD)
    jobs.stage.wait_pods(
        lambda pods: set(pods) == set(stuck) and are_all_going(pods), timeout=LOSS_SECONDS, what="only stuck pods left"
    )
    jobs.wait_reason("train", "InsufficientResources", timeout=LOSS_SECONDS)
    jobs.wait_counts(QUEUE, running=0, pending=1, gpus=0)
    assert jobs.stage.pods() == {}
    create(jobs, "half", GPUS)
    wait_whole(jobs, "half", GPUS)
    jobs.wait_counts(QUEUE, running=1, pending=1, gpus=GPUS)
    jobs.annotate("half", "cancel", "true")

    faults.start(DEAD)
    wait_whole(jobs, "train", SIZE, attempt=2)
    status = status_of(jobs.job("train"))
    assert (status.get("retries", 0), [one["failure"] for one in status["attempts"]]) == (0, ["nodeLost"])
    # The processes of the first attempt had gone on all the while, and end with the agent's return.
    folders = [cluster.layout.process_nodes / DEAD / "pods" / pod["metadata"]["uid"] for pod in stuck.values()]
    wait_until(lambda: not any(folder.exists() for folder in folders), 60, "the end of the first attempt's processes")


def test_a_job_that_is_deleted_while_its_node_is_dead_holds_nothing(jobs: JobStage, faults: Faults) -> None:
    """Its pods stay until the node comes back; a new job of the same name says that it waits for them."""
    jobs.queue(QUEUE)
    create(jobs, "train", SIZE)
    wait_whole(jobs, "train", SIZE)
    stuck = on_dead_node(jobs.pods("train"))
    faults.kill(DEAD)
    jobs.kube.delete("aijobs", "train", jobs.namespace)
    jobs.stage.wait_pods(lambda pods: set(pods) == set(stuck), timeout=60, what="only stuck pods left")
    jobs.wait_counts(QUEUE, running=0, pending=0, gpus=0)
    jobs.kube.wait_for("gangs", lambda gangs: not gangs, namespace=jobs.namespace, what="no gang")
    create(jobs, "train", GPUS)
    assert min(stuck) in status_of(jobs.wait_reason("train", "MemberDeleted"))["message"]
    jobs.wait_counts(QUEUE, running=0, pending=1, gpus=0)
    faults.start(DEAD)
    wait_whole(jobs, "train", GPUS)
    assert len(bound(jobs.pods("train"))) == GPUS
