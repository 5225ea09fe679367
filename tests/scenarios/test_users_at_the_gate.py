"""What users do by hand gains them nothing, at the first wall (policies) as at the second (the extender)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bones.control_plane import Kubectl
from bones.extender_metrics import filter_calls
from bones.kube import STRATEGIC, Kube
from bones.names import BIND_MARKER, GANG, GATE, MEMBER_MARKER, RELEASE, SIZE
from bones.stage import Stage, bound, gates, is_gated
from bones.telling import tell
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("judge")]

GATE_OFF = {"spec": {"schedulingGates": [{"$patch": "delete", "name": GATE}]}}


@pytest.fixture
def insider(cluster: Cluster) -> Iterator[Kube]:
    """A client that the policies let through, to reach the second wall."""
    client = Kube(Path(cluster.kubeconfig("controller")))
    yield client
    client.close()


def _patch(kubectl: Kubectl, stage: Stage, name: str, body: dict[str, Any]) -> str:
    return kubectl.fails("patch", "pod", name, "-n", stage.namespace, "--type=strategic", "-p", json.dumps(body))


def _waiting_pod(stage: Stage) -> str:
    stage.create(*stage.gang_pods("user", 3, count=1))
    stage.wait_reason("user", "WaitingForMembers")
    return "user-0"


def test_a_user_cannot_take_the_gate_off(stage: Stage, kubectl: Kubectl) -> None:
    name = _waiting_pod(stage)
    refusal = _patch(kubectl, stage, name, GATE_OFF)
    assert "spec.schedulingGates: only Muster takes" in refusal
    assert is_gated(stage.kube.get("pods", name, stage.namespace))


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": {RELEASE: "v1.aaaaaaaaaaaaaaaa.1-1.0.node.mac"}},
        {"annotations": {SIZE: "1"}},
        {"labels": {GANG: "another"}},
    ],
    ids=["the ticket", "the gang size", "the gang label"],
)
def test_a_user_cannot_write_what_is_musters(stage: Stage, kubectl: Kubectl, change: dict[str, Any]) -> None:
    name = _waiting_pod(stage)
    (place, values), *_ = change.items()
    field = f"metadata.{place}[{next(iter(values))}]"
    assert field in _patch(kubectl, stage, name, {"metadata": change})


@pytest.mark.parametrize(
    "spec", [{"nodeName": "somewhere"}, {"schedulerName": "another"}], ids=["a node", "another scheduler"]
)
def test_a_user_cannot_choose_node_or_scheduler_of_a_gpu_pod(
    stage: Stage, kubectl: Kubectl, spec: dict[str, str]
) -> None:
    refusal = kubectl.fails("create", "-f", "-", stdin=json.dumps(stage.pod("chooses", **spec)))
    assert next(iter(spec)) in refusal
    assert stage.pods() == {}


def test_a_forged_ticket_at_creation_gains_nothing(stage: Stage, kubectl: Kubectl) -> None:
    """Refused or stripped or ignored: whatever happens, the pod is not bound by it."""
    node = stage.add_nodes(1)[0]
    forged = f"v1.aaaaaaaaaaaaaaaa.1-1.0.{node}.{'A' * 43}"
    pod = stage.gang_pods("forged", 2, count=1, annotations={RELEASE: forged})[0]
    try:
        stage.kube.create(pod)
    except Exception as error:  # refused outright is the best answer
        assert "Muster" in str(error) or "forbidden" in str(error).lower()
    stage.stays_unbound("forged")


def test_a_pod_without_gate_and_ticket_is_never_bound(stage: Stage, insider: Kube) -> None:
    """The virtual gate: a pod whose gate fell off stays, while its room stands free, and is released in its turn."""
    stage.add_nodes(1)
    stage.create(*stage.gang_pods("ungated", 3, count=2))
    stage.wait_reason("ungated", "WaitingForMembers")
    for name in ("ungated-0", "ungated-1"):
        insider.patch("pods", name, GATE_OFF, stage.namespace, kind=STRATEGIC)
    stage.stays_unbound("ungated", seconds=3.0)
    stage.create(*stage.gang_pods("ungated", 3, count=1, first=2))
    pods = stage.wait_bound("ungated", 3)
    assert all(pod["metadata"]["annotations"][RELEASE] for pod in pods.values())


def test_the_virtual_gate_is_silent_under_changing_load(stage: Stage, insider: Kube, cluster: Cluster) -> None:
    """Rejected pods are not asked about again and again, whatever comes and goes around them."""
    rejected = 20
    stage.add_nodes(3, gpus=rejected)
    stage.create(*stage.gang_pods("silent", rejected + 1, count=rejected))
    stage.wait_reason("silent", "WaitingForMembers")
    before = filter_calls(cluster)
    for number in range(rejected):
        insider.patch("pods", f"silent-{number}", GATE_OFF, stage.namespace, kind=STRATEGIC)
    loads = 15
    for number in range(loads):
        stage.create(stage.pod(f"load-{number}"))
        stage.wait_pod_bound(f"load-{number}")
        stage.kube.delete("pods", f"load-{number}", stage.namespace, grace=0)
    stage.stays_unbound("silent", seconds=3.0)
    during = filter_calls(cluster) - before
    # For each rejected pod two at first, and two more for each load that leaves and wakes everybody.
    assert during <= rejected * (2 + 2 * loads) + 3 * loads, f"{during} filter calls"
    windows = list(_calls_until_silence(stage, cluster))
    tell(
        f"{rejected} rejected pods: {during} filter calls in {loads} changes of load, after them in 3 s each: {windows}"
    )
    assert windows[-1] == 0
    assert all(window <= 2 * rejected for window in windows)
    assert len(bound(stage.pods("silent"))) == 0


def _calls_until_silence(stage: Stage, cluster: Cluster) -> Iterator[int]:
    """Filter calls in windows of three seconds, until there are none; a fuse that has blown costs ten seconds."""
    seen = filter_calls(cluster)
    for _ in range(10):
        stage.stays_unbound("silent", seconds=3.0)
        now = filter_calls(cluster)
        yield now - seen
        if now == seen:
            return
        seen = now


def test_all_managed_pods_carry_gate_and_markers(stage: Stage) -> None:
    stage.create(stage.pod("gpu"), *stage.gang_pods("mixed", 2, count=1, gpus=None), stage.pod("cpu", gpus=None))
    pods = stage.pods()
    for name in ("gpu", "mixed-0"):
        asked = pods[name]["spec"]["containers"][0]["resources"]
        assert gates(pods[name]) == [GATE]
        assert asked["requests"][MEMBER_MARKER] == asked["limits"][BIND_MARKER] == "0"
    assert gates(pods["cpu"]) == []
    assert MEMBER_MARKER not in pods["cpu"]["spec"]["containers"][0]["resources"]["requests"]
