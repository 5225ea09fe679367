"""Pods at the door of a real API server: gated where managed, untouched elsewhere, and what the policies refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bones.builders import make_pod
from bones.control_plane import Kubectl
from bones.kube import STRATEGIC, Item, Kube, KubeError
from bones.stage import gates

pytestmark = pytest.mark.cluster

P = "aiplatform.example.com"
GATE = f"{P}/gang"
GATE_OFF = {"spec": {"schedulingGates": [{"$patch": "delete", "name": GATE}]}}
POD_SPEC = {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": 1}}}]}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD_SPEC}


@pytest.fixture(scope="module")
def controller(service: Callable[[str], Kube]) -> Kube:
    return service("muster-controller")


@pytest.fixture(scope="module")
def extender(service: Callable[[str], Kube]) -> Kube:
    return service("muster-extender")


@pytest.fixture
def global_default(client: Kube) -> Iterator[str]:
    """A PriorityClass that every pod gets which names none."""
    name = "everyday"
    client.create(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": 4242,
            "globalDefault": True,
        }
    )
    yield name
    client.delete("priorityclasses", name)


def binding(pod: str, node: str = "n") -> Item:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": node}}


def priority_of(pod: Item) -> tuple[str, int, str]:
    spec = pod["spec"]
    return spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]


def is_complete(pod: Item) -> bool:
    """Whether it has all that a managed pod has."""
    resources = pod["spec"]["containers"][0]["resources"]
    marked = all(resources[part][f"{P}/{name}"] == "0" for part in resources for name in ("member", "bind"))
    return gates(pod) == [GATE] and marked and f"{P}/queue" in pod["metadata"]["labels"]


def test_a_gpu_pod_is_gated(client: Kube, managed: str) -> None:
    pod = client.create(make_pod("p", managed))
    assert is_complete(pod)
    assert priority_of(pod) == ("muster-batch", 300_000, "Never")


def test_a_member_without_gpu_is_gated(client: Kube, managed: str) -> None:
    assert is_complete(client.create(make_pod("p", managed, gpus=None, gang="g", size=2)))


def test_other_pods_and_other_namespaces_are_untouched(client: Kube, managed: str, unmanaged: str) -> None:
    for pod in (make_pod("p", managed, gpus=None), make_pod("p", unmanaged)):
        created = client.create(pod)
        assert gates(created) == []
        assert "labels" not in created["metadata"]


@pytest.mark.parametrize(
    ("own_class", "annotation", "want"),
    [
        (None, None, ("muster-batch", 300_000, "Never")),
        ("muster-critical", None, ("muster-critical", 900_000, "Never")),
        ("muster-critical", "low", ("muster-maintenance", 100_000, "Never")),
        ("system-cluster-critical", None, ("muster-batch", 300_000, "Never")),
        (None, "high", ("muster-interactive", 600_000, "Never")),
    ],
    ids=["none", "ours", "annotation wins", "a foreign one", "annotation"],
)
@pytest.mark.parametrize("with_default", [False, True], ids=["no global default", "a global default"])
def test_the_priority_class_is_mapped(
    client: Kube,
    managed: str,
    request: pytest.FixtureRequest,
    own_class: str | None,
    annotation: str | None,
    want: tuple[str, int, str],
    with_default: bool,
) -> None:
    if with_default:
        request.getfixturevalue("global_default")
    spec: dict[str, Any] = {"priorityClassName": own_class} if own_class else {}
    annotations = {f"{P}/priority": annotation} if annotation else {}
    pod = client.create(make_pod("p", managed, annotations=annotations, **spec))
    assert priority_of(pod) == want


@pytest.mark.parametrize(
    ("kind", "api", "spec"),
    [
        ("Job", "batch/v1", {"template": {**TEMPLATE, "spec": {**POD_SPEC, "restartPolicy": "Never"}}}),
        ("ReplicaSet", "apps/v1", {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}),
        (
            "StatefulSet",
            "apps/v1",
            {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE, "serviceName": "s"},
        ),
    ],
    ids=["Job", "ReplicaSet", "StatefulSet"],
)
def test_pods_that_a_controller_makes_are_gated_as_well(
    client: Kube, user: Kubectl, managed: str, kind: str, api: str, spec: dict[str, Any]
) -> None:
    subject = {"apiVersion": api, "kind": kind, "metadata": {"name": "owner", "namespace": managed}, "spec": spec}
    user("create", "-f", "-", stdin=json.dumps(subject))
    pods = client.wait_for("pods", lambda items: len(items) >= 1, namespace=managed)
    assert all(is_complete(pod) for pod in pods.values())


def test_a_dry_run_is_answered_like_a_real_one(user: Kubectl, client: Kube, managed: str) -> None:
    shown = user("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(make_pod("p", managed)))
    assert is_complete(json.loads(shown))
    assert client.items("pods", managed) == {}


def test_every_error_of_a_pod_is_told_at_once(user: Kubectl, managed: str) -> None:
    wrong = make_pod("p", managed, gang="G", annotations={f"{P}/gang-size": "x", f"{P}/priority": "y"}, nodeName="n")
    refusal = user.fails("create", "-f", "-", stdin=json.dumps(wrong))
    for path in ("spec.nodeName", f"labels[{P}/gang]", f"annotations[{P}/gang-size]", f"annotations[{P}/priority]"):
        assert path in refusal


def test_a_misspelt_annotation_is_warned_of(user: Kubectl, managed: str) -> None:
    pod = make_pod("p", managed, annotations={f"{P}/gangsize": "3"})
    done = user._run(("create", "-f", "-"), json.dumps(pod))
    assert done.returncode == 0
    assert f"Warning: metadata.annotations[{P}/gangsize]: means nothing to Muster" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        GATE_OFF,
        {"metadata": {"annotations": {f"{P}/release": "v1.x"}}},
        {"metadata": {"annotations": {f"{P}/gang-size": "1"}}},
        {"metadata": {"annotations": {f"{P}/gang-min": "1"}}},
        {"metadata": {"labels": {GATE: "other"}}},
        {"metadata": {"labels": {GATE: None}}},
    ],
    ids=["gate", "ticket", "size", "minimum", "gang", "gang removed"],
)
@pytest.mark.parametrize("subresource", ["", "status"], ids=["the pod", "its status"])
def test_what_is_musters_stays_musters(
    client: Kube, controller: Kube, managed: str, change: Item, subresource: str
) -> None:
    client.create(make_pod("p", managed, gang="g", size=2))
    if subresource and change is GATE_OFF:
        client.patch("pods", "p", change, managed, kind=STRATEGIC, subresource=subresource)
        assert gates(client.get("pods", "p", managed)) == [GATE]
        return
    with pytest.raises(KubeError) as refused:
        client.patch("pods", "p", change, managed, kind=STRATEGIC, subresource=subresource)
    assert refused.value.status == 403
    assert "muster-pod-update" in refused.value.message
    controller.patch("pods", "p", change, managed, kind=STRATEGIC)


def test_everything_else_of_a_pod_is_the_users(client: Kube, managed: str) -> None:
    client.create(make_pod("p", managed, gang="g", size=2, schedulingGates=[{"name": "example.com/mine"}]))
    mine = {"spec": {"schedulingGates": [{"$patch": "delete", "name": "example.com/mine"}]}}
    annotations = {f"{P}/priority": "high"}
    free = {"metadata": {"labels": {"a": "b"}, "annotations": annotations, "finalizers": ["example.com/f"]}}
    for change in (mine, free, {"metadata": {"finalizers": None}}):
        client.patch("pods", "p", change, managed, kind=STRATEGIC)
    assert gates(client.get("pods", "p", managed)) == [GATE]


def test_nobody_changes_a_marker(client: Kube, controller: Kube, managed: str) -> None:
    client.create(make_pod("p", managed))
    change = {"spec": {"containers": [{"name": "main", "resources": {"limits": {f"{P}/bind": "2"}}}]}}
    for who in (client, controller):
        with pytest.raises(KubeError) as refused:
            who.patch("pods", "p", change, managed, kind=STRATEGIC)
        assert refused.value.status in (403, 422)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"nodeName": "n"}, "spec.nodeName"),
        ({"gpus": None, "nodeName": "n"}, "spec.nodeName"),
        ({"schedulerName": "mine"}, "spec.schedulerName"),
        ({"annotations": {f"{P}/release": "v1.x"}}, f"annotations[{P}/release]"),
        ({"gpus": None, "resourceClaims": [{"name": "g", "resourceClaimName": "c"}]}, "spec.resourceClaims"),
        ({"annotations": {"kubernetes.io/config.mirror": "x"}, "nodeName": "n"}, "spec.nodeName"),
    ],
    ids=["a node", "a node without GPU", "a scheduler", "a ticket", "a claim", "a pretended mirror pod"],
)
def test_what_nobody_may_create(client: Kube, managed: str, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(KubeError) as refused:
        client.create(make_pod("p", managed, **changes))
    assert told in refused.value.message


def test_only_the_extender_and_the_scheduler_bind(client: Kube, extender: Kube, managed: str) -> None:
    client.create(make_pod("p", managed, gpus=None))
    path = f"api/v1/namespaces/{managed}/pods/p/binding"
    with pytest.raises(KubeError) as refused:
        client.post(path, binding("p"))
    assert "only muster-extender and kube-scheduler bind pods" in refused.value.message
    extender.post(path, binding("p"))
    assert client.get("pods", "p", managed)["spec"]["nodeName"] == "n"


def test_elsewhere_anything_goes(client: Kube, unmanaged: str) -> None:
    client.create(make_pod("p", unmanaged, nodeName="n"))
    client.create(make_pod("q", unmanaged, schedulerName="mine", annotations={f"{P}/release": "x"}))
    client.post(f"api/v1/namespaces/{unmanaged}/pods/q/binding", binding("q"))


def test_a_node_reports_its_mirror_pods_and_nobody_touches_them(user: Kubectl, client: Kube, managed: str) -> None:
    node = client.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{managed}"}})
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"], "controller": True}
    pod = make_pod("static", managed, annotations={"kubernetes.io/config.mirror": "x"}, nodeName=name)
    pod["metadata"]["ownerReferences"] = [owner]
    kubelet = (f"--as=system:node:{name}", "--as-group=system:nodes", "--as-group=system:authenticated")
    user("create", *kubelet, "-f", "-", stdin=json.dumps(pod))
    assert gates(client.get("pods", "static", managed)) == []
