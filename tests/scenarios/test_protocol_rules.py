"""One test for each rule of the release that is easy to miss, on the real control plane."""

from __future__ import annotations

import pytest

from bones.builders import make_job, make_priority_class
from bones.control_plane import Faults, Kubectl
from bones.judging import JudgeProcess
from bones.names import BIND_MARKER, MANAGED, MEMBER_MARKER, PRIORITY, RELEASE
from bones.stage import Stage, bound, is_gated, message_of, phase_of, reason_of
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.usefixtures("judge")]

TAKEOVER_SECONDS = 60
REPAIR_SECONDS = 8


def _term(stage: Stage) -> int:
    return int(stage.kube.get("placementterms", "default")["spec"]["term"])


@pytest.mark.parametrize("failpoint", ["controller.reserve.fence", "controller.reserve.before"])
def test_a_leader_stopped_between_plan_and_write_changes_nothing(stage: Stage, faults: Faults, failpoint: str) -> None:
    """One fence for all reservations: the late write of a stopped leader is covered by nothing."""
    stage.add_nodes(1, gpus=3)
    faults.arm("controller", f"{failpoint}=pause")
    term = _term(stage)
    stage.create_gang("stale", 3, annotations={PRIORITY: "10"})
    faults.wait_hit(failpoint)
    faults.start("controller@2")
    stage.kube.wait_for(
        "placementterms",
        lambda items: items["default"]["spec"]["term"] > term,
        timeout=TAKEOVER_SECONDS,
        what="the second leader's term",
    )
    stage.create_gang("fresh", 3, annotations={PRIORITY: "90"})
    stage.wait_gang("fresh", lambda gang: phase_of(gang) != "", timeout=TAKEOVER_SECONDS)
    faults.resume("controller")
    winner = stage.kube.wait_for(
        "pods", lambda pods: len(bound(pods)) == 3, namespace=stage.namespace, what="one gang of two whole"
    )
    gangs = {name.rpartition("-")[0] for name in bound(winner)}
    assert len(gangs) == 1
    stage.stays_unbound(({"stale", "fresh"} - gangs).pop(), seconds=3.0)


@pytest.mark.parametrize("failpoint", ["controller.release.ticket@1", "controller.release.before-released"])
def test_a_ticket_without_its_durable_phase_binds_nobody(stage: Stage, faults: Faults, failpoint: str) -> None:
    """A leader that dies between ticket and Gang write leaves pods that the extender does not let through."""
    stage.add_nodes(1)
    faults.arm("controller", f"{failpoint}=kill")
    stage.create_gang("pointer", 3)
    faults.wait_dead("controller")
    assert any(RELEASE in pod["metadata"]["annotations"] for pod in stage.pods("pointer").values())
    assert phase_of(stage.gang("pointer")) == "Reserved"
    stage.stays_unbound("pointer", seconds=3.0)
    faults.start("controller")
    stage.wait_bound("pointer", 3, timeout=TAKEOVER_SECONDS)


def test_a_launcher_without_gpus_waits_with_its_gang(stage: Stage) -> None:
    stage.add_nodes(1, gpus=3)
    stage.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")
    launcher, *workers = stage.gang_pods("mpi", 3)
    asked = launcher["spec"]["containers"][0]["resources"]
    asked["requests"].pop("nvidia.com/gpu")
    asked["limits"].pop("nvidia.com/gpu")
    stage.create(launcher, *workers)
    stage.wait_reason("mpi", "InsufficientResources")
    seen = stage.pods("mpi")["mpi-0"]["spec"]["containers"][0]["resources"]["requests"]
    assert seen[MEMBER_MARKER] == seen[BIND_MARKER] == "0"
    stage.stays_unbound("mpi")
    stage.kube.delete("pods", "blocker", stage.namespace, grace=0)
    stage.wait_bound("mpi", 3)


def test_a_job_survives_two_aborts_of_its_gang(stage: Stage, faults: Faults) -> None:
    """Plain pods are never deleted by an abort: the Job controller would count them against backoffLimit."""
    stage.add_nodes(1, gpus=3)
    faults.stop("extender")
    stage.kube.create(make_job("train", stage.namespace, 3, gang="train", on=stage.namespace))
    epochs = set()
    for _ in range(2):
        gang = stage.wait_gang(
            "train",
            lambda item: phase_of(item) == "Released" and item["status"]["epoch"] not in epochs,
            timeout=90,
            what="a further epoch",
        )
        epochs.add(gang["status"]["epoch"])
        stage.add_nodes(1, gpus=3)
        stage.kubectl("cordon", gang["status"]["plan"][0]["node"])
    uids = {pod["metadata"]["uid"] for pod in stage.pods("train").values()}
    faults.start("extender")
    pods = stage.wait_bound("train", 3, timeout=90)
    assert {pod["metadata"]["uid"] for pod in pods.values()} == uids
    assert stage.kube.get("jobs", "train", stage.namespace)["status"].get("failed", 0) == 0
    assert stage.gang("train")["status"]["aborts"]["count"] >= 2


def test_cpu_taken_on_a_planned_node_during_roll_forward(stage: Stage, faults: Faults, kubectl: Kubectl) -> None:
    """Past the repair deadline a gang that cannot be made whole is evicted whole; it never stays in part."""
    stage.add_nodes(3, cpu=2, gpus=1)
    faults.arm("controller", "", env={"MUSTER_REPAIR_DEADLINE": str(REPAIR_SECONDS)})
    faults.arm("extender", "extender.bind.posted@1=kill", env={"MUSTER_BIND_CONCURRENCY": "1"})
    stage.create_gang("broken", 3, cpu=2)
    faults.wait_dead("extender")
    pods = stage.wait_bound("broken", 1)
    free = {node for node in stage.kube.items("nodes") if node.startswith(stage.namespace)}
    node = min(free - {pods[name]["spec"]["nodeName"] for name in bound(pods)})
    stage.create(stage.pod("thief", gpus=None, nodeSelector={"kubernetes.io/hostname": node}))
    stage.wait_pod_bound("thief")
    faults.start("extender")
    stage.wait_pods(lambda pods: not bound(pods), "broken", timeout=REPAIR_SECONDS + 30, what="nobody bound")
    stage.wait_pods(lambda pods: len(bound(pods)) in (0, 3), "broken", timeout=5)


@pytest.mark.parametrize(
    ("constraint", "field"),
    [
        (
            {"containers": [{"name": "main", "image": "none", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
            "hostPort",
        ),
        (
            {
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
                        ]
                    }
                }
            },
            "podAntiAffinity",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"a": "b"}},
                    }
                ]
            },
            "topologySpreadConstraints",
        ),
    ],
    ids=["a host port", "anti-affinity", "topology spread"],
)
def test_a_constraint_that_is_not_modelled_is_named_and_never_tried(
    stage: Stage, constraint: dict[str, object], field: str
) -> None:
    stage.add_nodes(1)
    stage.create_gang("odd", 2, **constraint)
    gang = stage.wait_reason("odd", "UnsupportedConstraint")
    assert field in message_of(gang)
    epoch = gang["status"]["epoch"]
    stage.stays_unbound("odd", seconds=2.0)
    assert stage.gang("odd")["status"]["epoch"] == epoch


@pytest.mark.parametrize("default", [False, True], ids=["no global default", "a global default class"])
def test_priority_class_value_and_preemption_policy_agree(stage: Stage, default: bool) -> None:
    """Priority admission ran before the webhook; whatever it filled in, all three are set together."""
    own = f"{stage.namespace}-own"
    classes = [make_priority_class(own, 5000)]
    if default:
        classes.append(make_priority_class(f"{stage.namespace}-default", 7, default=True))
    stage.kube.create_all(classes)
    try:
        stage.create(
            stage.pod("unsaid"),
            stage.pod("said", annotations={PRIORITY: "95"}),
            stage.pod("ours", priorityClassName="muster-interactive"),
            stage.pod("theirs", priorityClassName=own),
        )
    finally:
        for one in classes:
            stage.kube.delete("priorityclasses", one["metadata"]["name"])
    values = {
        name: one["value"] for name, one in stage.kube.items("priorityclasses").items() if name.startswith("muster-")
    }
    pods = stage.pods()
    assert pods["unsaid"]["spec"]["priorityClassName"] == "muster-batch"
    assert pods["said"]["spec"]["priorityClassName"] == "muster-critical"
    assert pods["ours"]["spec"]["priorityClassName"] == "muster-interactive"
    for name, pod in pods.items():
        spec = pod["spec"]
        assert spec["priority"] == values[spec["priorityClassName"]], name
        assert spec["preemptionPolicy"] == "Never", name


def test_a_namespace_labelled_after_its_pods_exist(stage: Stage) -> None:
    """Pods that were there before the label become gangs of one and get their ticket."""
    stage.add_nodes(1, gpus=2)
    late = stage.open_namespace(f"{stage.namespace}-late", managed=False)
    stage.kube.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")
    stage.kube.create_all(stage.pod(f"early-{number}", namespace=late) for number in range(2))
    stage.kube.patch("namespaces", late, {"metadata": {"labels": {MANAGED: "true"}}})
    stage.kube.stays("pods", lambda pods: not bound(pods), namespace=late, seconds=2.0, what="early pods")
    stage.kube.delete("pods", "blocker", stage.namespace, grace=0)
    pods = stage.kube.wait_for("pods", lambda pods: len(bound(pods)) == 2, namespace=late, what="the early pods bound")
    assert all(pod["metadata"].get("annotations", {}).get(RELEASE) for pod in pods.values())
    assert not any(is_gated(pod) for pod in pods.values())
    assert stage.kube.items("gangs", late) == {}


def test_a_namespace_that_loses_its_label_says_so_to_what_waits_there(stage: Stage) -> None:
    """Nothing is released in it any more; with the label back all goes on."""
    stage.add_nodes(1, gpus=3)
    stage.kube.create(stage.pod("blocker", gpus=3))
    stage.wait_pod_bound("blocker")
    stage.create_gang("waits", 2)
    stage.kube.create(stage.pod("alone"))
    stage.wait_reason("waits", "InsufficientResources")
    stage.kube.patch("namespaces", stage.namespace, {"metadata": {"labels": {MANAGED: None}}})
    stage.wait_reason("waits", "NamespaceNotManaged")
    stage.kube.wait_event("alone", "NamespaceNotManaged", namespace=stage.namespace)
    stage.kube.delete("pods", "blocker", stage.namespace, grace=0)
    stage.stays_unbound("waits")
    stage.kube.patch("namespaces", stage.namespace, {"metadata": {"labels": {MANAGED: "true"}}})
    stage.wait_bound("waits", 2)
    stage.wait_pod_bound("alone")


def test_two_controllers_make_one_decision(stage: Stage, faults: Faults, judge: JudgeProcess, cluster: Cluster) -> None:
    """A standby beside the leader changes nothing; when the leader dies it goes on."""
    stage.add_nodes(2)
    faults.start("controller@2")
    stage.create_gang("first", 4)
    stage.wait_bound("first", 4)
    faults.kill("controller")
    stage.create_gang("second", 4)
    stage.wait_bound("second", 4, timeout=TAKEOVER_SECONDS)
    assert reason_of(stage.gang("second")) != "BarrierTimeout"
    faults.heal()
    gangs = judge.verdict()["gangs"]
    assert all(gangs[f"{stage.namespace}/{gang}"]["commits"] == 1 for gang in ("first", "second"))
