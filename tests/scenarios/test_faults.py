"""Processes that die, hang or are away: nothing is bound in part, and everything goes on without a hand."""

from __future__ import annotations

import json
import time

import pytest

from bones.builders import make_pod
from bones.control_plane import Faults, Kubectl
from bones.judging import JudgeProcess
from bones.names import GPU, TEST_LABEL
from bones.stage import Stage, bound, phase_of
from bones.telling import tell
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

SIZE = 12
RECOVERY_SECONDS = 60
HUNG_LIMIT_SECONDS = 5.0


@pytest.mark.parametrize("tickets", [1, 6, SIZE])
def test_the_controller_dies_after_some_tickets(stage: Stage, faults: Faults, tickets: int) -> None:
    """The durable plan knows the rest: the next leader sends what is missing, and nobody was bound meanwhile."""
    stage.add_nodes(2)
    faults.arm("controller", f"controller.release.ticket@{tickets}=kill")
    stage.create_gang("whole", SIZE)
    faults.wait_dead("controller")
    stage.stays_unbound("whole", seconds=1.0)
    faults.start("controller")
    stage.wait_bound("whole", SIZE, timeout=RECOVERY_SECONDS)
    stage.wait_phase("whole", "Running", timeout=RECOVERY_SECONDS)


@pytest.mark.parametrize(
    "failpoint",
    [
        "controller.reserve.fence",
        "controller.reserve.before",
        "controller.reserve.after",
        "controller.release.before-released",
        "controller.release.after-released",
    ],
)
def test_the_controller_dies_at_a_step_of_the_release(stage: Stage, faults: Faults, failpoint: str) -> None:
    stage.add_nodes(2)
    faults.arm("controller", f"{failpoint}=kill")
    stage.create_gang("whole", SIZE)
    faults.wait_dead("controller")
    faults.start("controller")
    stage.wait_bound("whole", SIZE, timeout=RECOVERY_SECONDS)
    stage.wait_phase("whole", "Running", timeout=RECOVERY_SECONDS)


@pytest.mark.parametrize(
    ("failpoint", "committed"),
    [
        ("extender.park@1", False),
        (f"extender.park@{SIZE // 2}", False),
        (f"extender.park@{SIZE}", False),
        ("extender.commit.before", False),
        ("extender.commit.after", True),
        ("extender.bind.posted@1", True),
        (f"extender.bind.posted@{SIZE // 2}", True),
    ],
)
def test_the_extender_dies_at_a_step_of_the_barrier(
    stage: Stage, faults: Faults, failpoint: str, committed: bool
) -> None:
    stage.add_nodes(2)
    faults.arm("extender", f"{failpoint}=kill")
    stage.create_gang("whole", SIZE)
    faults.wait_dead("extender", timeout=60)
    assert (phase_of(stage.gang("whole")) in ("Committed", "Running")) is committed
    if not committed:
        assert bound(stage.pods("whole")) == set()
    faults.start("extender")
    stage.wait_bound("whole", SIZE, timeout=RECOVERY_SECONDS)
    stage.wait_phase("whole", "Running", timeout=RECOVERY_SECONDS)


def test_the_scheduler_dies_while_members_are_parked(
    stage: Stage, faults: Faults, judge: JudgeProcess, cluster: Cluster
) -> None:
    """Closed sockets leave the barrier; whoever parks again is counted once."""
    stage.add_nodes(2)
    faults.arm("extender", f"extender.park@{SIZE // 2}=pause")
    stage.create_gang("whole", SIZE)
    faults.wait_paused("extender", timeout=60)
    faults.kill("kube-scheduler")
    faults.resume("extender")
    faults.start("kube-scheduler")
    stage.wait_bound("whole", SIZE, timeout=RECOVERY_SECONDS)
    faults.heal()
    assert judge.verdict()["gangs"][f"{stage.namespace}/whole"]["commits"] == 1


def test_a_terminating_pod_leaves_no_ghost_behind(stage: Stage, faults: Faults, kubectl: Kubectl) -> None:
    """A finalizer holds one member of a deleted gang over a restart of the controller: it holds its GPU, no more."""
    stage.add_nodes(1, gpus=3)
    pods = stage.gang_pods("first", 3)
    pods[0]["metadata"]["finalizers"] = ["tests.example.com/hold"]
    stage.create(*pods)
    stage.wait_bound("first", 3)
    kubectl("delete", "pods", "--all", "-n", stage.namespace, "--wait=false")
    stage.wait_pods(lambda pods: set(pods) == {"first-0"}, what="only the held pod left")
    faults.kill("controller")
    faults.start("controller")
    stage.create_gang("second", 3)
    stage.wait_reason("second", "InsufficientResources")
    stage.stays_unbound("second", seconds=2.0)
    stage.kube.patch("pods", "first-0", {"metadata": {"finalizers": None}}, stage.namespace)
    stage.wait_bound("second", 3)
    stage.kube.wait_for("gangs", lambda gangs: set(gangs) == {"pods-second"}, namespace=stage.namespace)


def test_the_webhook_is_down(stage: Stage, faults: Faults, kubectl: Kubectl) -> None:
    """Others are untouched; in managed namespaces creation fails and says why."""
    stage.add_nodes(1)
    elsewhere = stage.open_namespace(f"{stage.namespace}-free", managed=False)
    faults.kill("webhook")
    kubectl("create", "-f", "-", stdin=json.dumps(stage.pod("free", namespace=elsewhere)))
    system = make_pod("muster-test-system", "kube-system", gpus=None, nodeSelector={TEST_LABEL: stage.namespace})
    stage.kube.create(system)
    try:
        stage.kube.wait_for("pods", lambda pods: "free" in bound(pods), namespace=elsewhere)
        stage.kube.wait_for("pods", lambda pods: "muster-test-system" in bound(pods), namespace="kube-system")
    finally:
        stage.kube.delete("pods", "muster-test-system", "kube-system", grace=0)
    refusal = kubectl.fails("create", "-f", "-", stdin=json.dumps(stage.pod("managed")))
    assert "webhook" in refusal
    assert stage.pods() == {}
    faults.start("webhook")
    stage.create(stage.pod("managed"))
    stage.wait_pod_bound("managed")


@pytest.mark.parametrize("how", ["killed", "frozen", "hung"])
def test_the_extender_is_away(stage: Stage, faults: Faults, how: str) -> None:
    """Only GPU pods wait; CPU pods are scheduled meanwhile, and all is well once it is back."""
    stage.add_nodes(2)
    elsewhere = stage.open_namespace(f"{stage.namespace}-free", managed=False)
    {"killed": faults.kill, "frozen": faults.pause, "hung": faults.hang}[how]("extender")
    stage.create_gang("waits", 4)
    stage.kube.create(stage.pod("gpu", namespace=elsewhere))
    if how == "frozen":
        stage.stays_unbound("waits", seconds=3.0)
    else:
        # Frozen with its watchdog, nothing but kube-scheduler's own timeout of 2 s a GPU pod bounds the wait.
        latencies = [_cpu_latency(stage, f"cpu-{number}") for number in range(5)]
        tell(f"CPU pods with the extender {how}: {', '.join(f'{one:.2f} s' for one in latencies)}")
        assert max(latencies) <= HUNG_LIMIT_SECONDS
    if how != "hung":
        assert bound(stage.pods("waits")) == set()
        assert bound(stage.kube.items("pods", elsewhere)) == set()
        {"killed": faults.start, "frozen": faults.resume}[how]("extender")
    stage.wait_bound("waits", 4, timeout=RECOVERY_SECONDS)
    stage.kube.wait_for("pods", lambda pods: "gpu" in bound(pods), namespace=elsewhere, timeout=RECOVERY_SECONDS)


def test_a_node_is_cordoned_between_plan_and_bind(stage: Stage, faults: Faults, cluster: Cluster) -> None:
    stage.add_nodes(2, gpus=SIZE)
    faults.stop("extender")
    stage.create_gang("moves", SIZE)
    gang = stage.wait_phase("moves", "Released")
    planned = {run["node"] for run in gang["status"]["plan"]}
    assert len(planned) == 1
    node = planned.pop()
    stage.kubectl("cordon", node)
    again = stage.wait_gang(
        "moves",
        lambda item: phase_of(item) == "Released" and item["status"]["epoch"] != gang["status"]["epoch"],
        what="a second epoch",
    )
    assert node not in {run["node"] for run in again["status"]["plan"]}
    faults.start("extender")
    pods = stage.wait_bound("moves", SIZE, timeout=RECOVERY_SECONDS)
    assert node not in {pod["spec"]["nodeName"] for pod in pods.values()}


@pytest.mark.parametrize("loss", ["not ready", "deleted"])
def test_a_planned_node_is_lost_before_the_bind(stage: Stage, faults: Faults, cluster: Cluster, loss: str) -> None:
    stage.add_nodes(2, gpus=SIZE)
    faults.stop("extender")
    stage.create_gang("moves", SIZE)
    gang = stage.wait_phase("moves", "Released")
    node = gang["status"]["plan"][0]["node"]
    if loss == "deleted":
        stage.kube.delete("nodes", node)
    else:
        cluster.fail_node(node)
    stage.wait_gang(
        "moves",
        lambda item: phase_of(item) == "Released" and item["status"]["epoch"] != gang["status"]["epoch"],
        what="a second epoch",
    )
    faults.start("extender")
    pods = stage.wait_bound("moves", SIZE, timeout=RECOVERY_SECONDS)
    assert node not in {pod["spec"]["nodeName"] for pod in pods.values()}


def test_two_extenders_commit_once(stage: Stage, faults: Faults, judge: JudgeProcess) -> None:
    """A second extender beside the first sees the same Gangs; the compare-and-swap leaves one commit."""
    stage.add_nodes(2)
    faults.start("extender@2")
    for number in range(3):
        stage.create_gang(f"g{number}", 4)
    for number in range(3):
        stage.wait_bound(f"g{number}", 4)
    gangs = judge.verdict()["gangs"]
    assert all(gangs[f"{stage.namespace}/g{number}"]["commits"] == 1 for number in range(3))


def _cpu_latency(stage: Stage, name: str) -> float:
    start = time.monotonic()
    pod = stage.pod(name, gpus=None)
    assert GPU not in pod["spec"]["containers"][0]["resources"]["requests"]
    stage.kube.create(pod)
    stage.wait_pod_bound(name)
    return time.monotonic() - start
