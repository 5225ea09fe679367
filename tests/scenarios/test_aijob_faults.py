"""AIJobs whose pods cannot go, whose nodes fail and whose planned places are lost: nothing is counted twice or kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.control_plane import Faults
from bones.job_stage import JobStage, status_of
from bones.judging import JudgeProcess
from bones.kube import Items
from bones.names import GPU, RUN_SECONDS
from bones.stage import Stage, phase_of
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SIZE = 4
QUEUE = "research"
RECOVERY_SECONDS = 90
NODE_LOSS_SECONDS = 150
HOLD = "tests.example.com/hold"


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage)
    made.queue(QUEUE)
    yield made
    stage.clear()
    made.strike()


def hold(jobs: JobStage, pod: str) -> None:
    """From now on a finalizer keeps the pod Terminating once it is deleted."""
    jobs.kube.patch("pods", pod, {"metadata": {"finalizers": [HOLD]}}, jobs.namespace)


def let_go(jobs: JobStage, pod: str) -> None:
    jobs.kube.patch("pods", pod, {"metadata": {"finalizers": None}}, jobs.namespace)


def restart_controller(faults: Faults) -> None:
    faults.kill("controller")
    faults.start("controller")


def nodes_of(pods: Items) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in pods.values()}


def pins_of(pods: Items) -> set[str]:
    """The nodes that the pods are made for, whether they are bound or not."""
    terms = [
        pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        for pod in pods.values()
    ]
    return {name for (term,) in terms for name in term["matchFields"][0]["values"]}


def test_a_terminating_member_is_waited_for_and_counted_once(jobs: JobStage, faults: Faults) -> None:
    """Scenario 13: a finalizer holds a deleted member of a running job over a restart of the controller."""
    jobs.stage.add_nodes(2, gpus=SIZE)
    jobs.create("train", SIZE, queue=QUEUE, retryPolicy={"maxRetries": 0})
    jobs.wait_attempt("train", 1)
    hold(jobs, "train-1-1")
    jobs.kube.delete("pods", "train-1-1", jobs.namespace)
    jobs.stage.wait_pods(lambda pods: set(pods) == {"train-1-1"}, what="only the held pod left")
    restart_controller(faults)
    # The other node has room for the next attempt, and yet nothing is made beside a pod of the last one.
    jobs.wait_counts(QUEUE, running=1, pending=0, gpus=SIZE, timeout=RECOVERY_SECONDS)
    jobs.kube.stays("pods", lambda pods: set(pods) == {"train-1-1"}, namespace=jobs.namespace, seconds=3.0)
    assert set(jobs.kube.items("gangs", jobs.namespace)) == {"aijob-train"}
    assert "1 pods of epoch" in jobs.wait_gang("train", lambda gang: phase_of(gang) == "Evicting")["status"]["message"]
    let_go(jobs, "train-1-1")
    status = status_of(jobs.wait_attempt("train", 2))
    assert (status.get("retries", 0), [one["failure"] for one in status["attempts"]]) == (0, ["deleted"])
    assert set(jobs.pods("train")) == {f"train-2-{rank}" for rank in range(SIZE)}
    jobs.wait_counts(QUEUE, running=1, pending=0, gpus=SIZE)


def test_a_terminating_pod_of_a_deleted_job_leaves_no_ghost_behind(jobs: JobStage, faults: Faults) -> None:
    """Scenario 13: it holds its own GPU and its name, but nothing of a queue's or cluster's limits."""
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("train", SIZE, queue=QUEUE)
    jobs.wait_attempt("train", 1)
    hold(jobs, "train-1-0")
    jobs.kube.delete("aijobs", "train", jobs.namespace)
    jobs.stage.wait_pods(lambda pods: set(pods) == {"train-1-0"}, what="only the held pod left")
    restart_controller(faults)
    jobs.wait_counts(QUEUE, running=0, pending=0, gpus=0, timeout=RECOVERY_SECONDS)
    jobs.kube.wait_for("gangs", lambda gangs: not gangs, namespace=jobs.namespace, what="no ghost of a gang")
    jobs.create("train", SIZE, queue=QUEUE)
    jobs.create("rest", SIZE - 1, queue=QUEUE)
    jobs.wait_attempt("rest", 1)
    jobs.wait_counts(QUEUE, running=1, pending=1, gpus=SIZE - 1)
    assert "train-1-0" in status_of(jobs.wait_reason("train", "MemberDeleted"))["message"]
    jobs.kube.delete("aijobs", "rest", jobs.namespace)
    jobs.wait_gone("rest")
    let_go(jobs, "train-1-0")
    jobs.wait_attempt("train", 1)
    assert len(jobs.pods("train")) == SIZE
    jobs.wait_counts(QUEUE, running=1, pending=0, gpus=SIZE)


def test_a_new_leader_sends_jobs_of_one_kind_to_every_node(jobs: JobStage, faults: Faults) -> None:
    """It knows the kind from pods of a job that has ended; their pin says nothing of where others may go."""
    jobs.stage.add_nodes(2, gpus=SIZE)
    jobs.create("ended", SIZE, annotations={RUN_SECONDS: "1"})
    jobs.wait_phase("ended", "Succeeded")
    restart_controller(faults)
    for name in ("second", "third"):
        jobs.create(name, SIZE)
    for name in ("second", "third"):
        jobs.wait_attempt(name, 1, timeout=RECOVERY_SECONDS)
    assert not nodes_of(jobs.pods("second")) & nodes_of(jobs.pods("third"))


@pytest.mark.parametrize("loss", ["cordoned", "not ready", "deleted"])
def test_a_planned_node_is_lost_before_the_bind(jobs: JobStage, faults: Faults, cluster: Cluster, loss: str) -> None:
    """Scenario 11: the pods were born with a pin, so they are made again, under the same names and for another node."""
    jobs.stage.add_nodes(2, gpus=SIZE)
    faults.stop("extender")
    jobs.create("moves", SIZE)
    gang = jobs.wait_gang("moves", lambda item: phase_of(item) == "Released")
    jobs.stage.wait_pods(lambda pods: len(pods) == SIZE, what="the pods of the first plan")
    before = jobs.pods("moves")
    lost = gang["status"]["plan"][0]["node"]
    assert pins_of(before) == {lost}
    lose_node(jobs, cluster, lost, loss)
    again = jobs.wait_gang(
        "moves",
        lambda item: phase_of(item) == "Released" and item["status"]["epoch"] != gang["status"]["epoch"],
        what="a second epoch",
    )
    assert lost not in {run["node"] for run in again["status"]["plan"]}
    faults.start("extender")
    status = status_of(jobs.wait_attempt("moves", 1, timeout=RECOVERY_SECONDS))
    after = jobs.pods("moves")
    assert "attempts" not in status
    assert set(after) == set(before) == {f"moves-1-{rank}" for rank in range(SIZE)}
    assert pins_of(after) == nodes_of(after)
    assert lost not in nodes_of(after)
    assert not {pod["metadata"]["uid"] for pod in after.values()} & {pod["metadata"]["uid"] for pod in before.values()}


@pytest.mark.parametrize("failpoint", ["controller.abort.before@1", "controller.abort.after@1"])
def test_the_controller_dies_while_it_takes_a_plan_back(jobs: JobStage, faults: Faults, failpoint: str) -> None:
    """Scenario 11: the next leader finds pods with a pin that leads nowhere, and takes them away first."""
    jobs.stage.add_nodes(2, gpus=SIZE)
    faults.stop("extender")
    faults.arm("controller", f"{failpoint}=kill")
    jobs.create("moves", SIZE)
    gang = jobs.wait_gang("moves", lambda item: phase_of(item) == "Released")
    lost = gang["status"]["plan"][0]["node"]
    jobs.kubectl("cordon", lost)
    faults.wait_dead("controller")
    assert pins_of(jobs.pods("moves")) == {lost}
    faults.start("controller")
    faults.start("extender")
    jobs.wait_attempt("moves", 1, timeout=RECOVERY_SECONDS)
    pods = jobs.pods("moves")
    assert len(pods) == SIZE
    assert pins_of(pods) == nodes_of(pods)
    assert lost not in nodes_of(pods)


def lose_node(jobs: JobStage, cluster: Cluster, node: str, loss: str) -> None:
    if loss == "cordoned":
        jobs.kubectl("cordon", node)
    elif loss == "deleted":
        jobs.kube.delete("nodes", node)
    else:
        cluster.fail_node(node)


def test_a_node_that_fails_under_a_running_gang_gives_everything_back(jobs: JobStage, cluster: Cluster) -> None:
    """Scenario 26: one of two nodes says NotReady; the whole gang waits for room and holds nothing meanwhile."""
    jobs.stage.add_nodes(2, gpus=SIZE // 2)
    jobs.create("train", SIZE, queue=QUEUE, retryPolicy={"maxRetries": 0})
    jobs.wait_attempt("train", 1)
    jobs.wait_counts(QUEUE, running=1, pending=0, gpus=SIZE)
    failed, sound = sorted(nodes_of(jobs.pods("train")))
    cluster.fail_node(failed)
    message = status_of(jobs.wait_reason("train", "InsufficientResources", timeout=NODE_LOSS_SECONDS))["message"]
    assert GPU in message
    jobs.wait_counts(QUEUE, running=0, pending=1, gpus=0)
    assert jobs.stage.pods() == {}
    jobs.create("half", SIZE // 2, queue=QUEUE)
    jobs.wait_attempt("half", 1)
    assert nodes_of(jobs.pods("half")) == {sound}
    jobs.annotate("half", "cancel", "true")
    cluster.recover_node(failed)
    status = status_of(jobs.wait_attempt("train", 2))
    assert (status.get("retries", 0), status["attempts"][0]["failure"]) == (0, "nodeLost")
