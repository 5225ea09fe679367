"""What a pod gets at admission."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bones.builders import make_pod
from bones.reviews import make_review, patch_of, patched
from muster_webhook.handlers import Handlers
from muster_webhook.reviews import decode_request

P = "aiplatform.example.com"
GATE = {"name": f"{P}/gang"}
MARKERS = {f"{P}/member": "0", f"{P}/bind": "0"}
CONTROLLER = "system:serviceaccount:muster-system:muster-controller"
HANDLERS = Handlers(("nvidia.com/gpu",))


def admit(pod: dict[str, Any], **review: Any) -> dict[str, Any]:
    """The pod as it is after admission; asking again must change nothing."""
    once = ask(pod, **review)
    assert ask(once, **review) == once, "a second call changed it again"
    return once


def ask(pod: dict[str, Any], **review: Any) -> dict[str, Any]:
    body = json.dumps(make_review(pod, **review)).encode()
    _, answer = HANDLERS.mutate_pods(decode_request(body))
    assert json.loads(answer)["response"]["allowed"], answer
    changed: dict[str, Any] = patched(pod, patch_of(answer))
    return changed


def after_priority_admission(
    pod: dict[str, Any], value: int = 0, policy: str = "PreemptLowerPriority"
) -> dict[str, Any]:
    """What the API server's Priority plugin, which runs before webhooks, makes of a pod."""
    pod["spec"] |= {"priority": value, "preemptionPolicy": policy}
    return pod


def test_a_gpu_pod_gets_gate_markers_priority_and_queue() -> None:
    pod = admit(after_priority_admission(make_pod("p", "ns")))
    assert pod["spec"]["schedulingGates"] == [GATE]
    assert MARKERS.items() <= pod["spec"]["containers"][0]["resources"]["requests"].items()
    assert MARKERS.items() <= pod["spec"]["containers"][0]["resources"]["limits"].items()
    assert pod["metadata"]["labels"] == {f"{P}/queue": "default"}
    assert priority_of(pod) == ("muster-batch", 300_000, "Never")


def test_a_member_without_a_gpu_gets_the_same() -> None:
    pod = admit(make_pod("p", "ns", gpus=None, gang="g", size=2))
    assert pod["spec"]["schedulingGates"] == [GATE]
    assert MARKERS.items() <= pod["spec"]["containers"][0]["resources"]["requests"].items()


@pytest.mark.parametrize(
    "resources",
    [{}, None, {"requests": {}}, {"claims": [{"name": "c"}]}, {"limits": {"cpu": "1"}}],
    ids=["empty", "absent", "empty requests", "only claims", "only limits"],
)
def test_markers_are_added_to_whatever_the_container_says(resources: dict[str, Any] | None) -> None:
    pod = make_pod("p", "ns", gang="g", size=1)
    del pod["spec"]["containers"][0]["resources"]
    if resources is not None:
        pod["spec"]["containers"][0]["resources"] = resources
    after = admit(pod)["spec"]["containers"][0]["resources"]
    assert MARKERS.items() <= after["requests"].items()
    assert MARKERS.items() <= after["limits"].items()
    assert after.get("claims") == (resources or {}).get("claims")


def test_markers_on_another_container_are_enough() -> None:
    pod = make_pod("p", "ns")
    marked = admit(pod)
    marked["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x", "resources": {}})
    assert admit(marked) == marked


def test_gates_of_others_stay_where_they_are() -> None:
    pod = make_pod("p", "ns", schedulingGates=[{"name": "example.com/quota"}])
    assert admit(pod)["spec"]["schedulingGates"] == [{"name": "example.com/quota"}, GATE]


def test_labels_and_queue_of_the_user_stay() -> None:
    labels = {"app": "x", f"{P}/queue": "research"}
    assert admit(make_pod("p", "ns", labels=labels))["metadata"]["labels"] == labels


@pytest.mark.parametrize(
    ("annotation", "own_class", "want"),
    [
        (None, None, ("muster-batch", 300_000)),
        ("95", None, ("muster-critical", 900_000)),
        ("60", None, ("muster-interactive", 600_000)),
        ("low", None, ("muster-maintenance", 100_000)),
        ("0", None, ("muster-maintenance", 100_000)),
        (None, "muster-critical", ("muster-critical", 900_000)),
        (None, "muster-maintenance", ("muster-maintenance", 100_000)),
        ("high", "muster-maintenance", ("muster-interactive", 600_000)),
        (None, "somebody-elses", ("muster-batch", 300_000)),
        (None, "system-node-critical", ("muster-batch", 300_000)),
    ],
    ids=[
        "nothing said is batch",
        "annotation 95 is critical",
        "annotation 60 is interactive",
        "the word low is maintenance",
        "annotation 0 is maintenance",
        "our own class stays",
        "our lowest class stays",
        "the annotation wins over our class",
        "a foreign class becomes batch",
        "a system class becomes batch",
    ],
)
@pytest.mark.parametrize("global_default", [0, 7777], ids=["no global default", "a global default"])
def test_priority_class_value_and_policy_agree(
    annotation: str | None, own_class: str | None, want: tuple[str, int], global_default: int
) -> None:
    pod = make_pod("p", "ns", annotations={f"{P}/priority": annotation} if annotation else {})
    if own_class:
        pod["spec"]["priorityClassName"] = own_class
    elif global_default:
        pod["spec"]["priorityClassName"] = "the-global-default"
    after_priority_admission(pod, global_default or 0)
    assert priority_of(admit(pod)) == (*want, "Never")


def test_other_pods_pass_untouched() -> None:
    pod = make_pod("p", "ns", gpus=None)
    assert ask(pod) == pod


@pytest.mark.parametrize(
    ("annotations", "spec"),
    [
        ({"kubernetes.io/config.mirror": "hash"}, {"nodeName": "n"}),
        ({}, {"schedulingGroup": {"podGroupName": "g"}}),
    ],
    ids=["mirror pods", "pods that Kubernetes groups itself"],
)
def test_left_alone(annotations: dict[str, str], spec: dict[str, Any]) -> None:
    pod = make_pod("p", "ns", annotations=annotations, **spec)
    assert ask(pod) == pod


def test_a_pod_born_released_has_no_gate_but_all_the_rest() -> None:
    pod = make_pod("p", "ns", annotations={f"{P}/release": "v1.x"})
    after = admit(pod, user=CONTROLLER)
    assert "schedulingGates" not in after["spec"]
    assert MARKERS.items() <= after["spec"]["containers"][0]["resources"]["requests"].items()


def test_a_pod_with_nothing_but_a_generated_name() -> None:
    pod = make_pod("p", "ns")
    pod["metadata"] = {"generateName": "p-", "namespace": "ns", "creationTimestamp": None}
    assert admit(pod)["metadata"]["labels"] == {f"{P}/queue": "default"}


def test_a_dry_run_gets_the_same_answer() -> None:
    pod = make_pod("p", "ns")
    assert ask(pod, dryRun=True) == ask(pod)


@pytest.mark.parametrize(
    "change",
    [{"operation": "UPDATE"}, {"operation": "DELETE", "object": None}, {"sub_resource": "status"}],
    ids=["an update", "a deletion", "its status"],
)
def test_only_creation_counts(change: dict[str, Any]) -> None:
    body = json.dumps(make_review(make_pod("p", "ns"), **change)).encode()
    result, answer = HANDLERS.mutate_pods(decode_request(body))
    assert result == "allowed"
    assert patch_of(answer) == []


def test_another_gpu_resource_can_be_configured() -> None:
    pod = make_pod("p", "ns", gpus=None)
    pod["spec"]["containers"][0]["resources"] = {"limits": {"amd.com/gpu": "1"}}
    body = json.dumps(make_review(pod)).encode()
    assert patch_of(Handlers(("nvidia.com/gpu", "amd.com/gpu")).mutate_pods(decode_request(body))[1])
    assert not patch_of(HANDLERS.mutate_pods(decode_request(body))[1])


def test_the_uid_comes_back() -> None:
    body = json.dumps(make_review(make_pod("p", "ns"), uid="abc")).encode()
    assert json.loads(HANDLERS.mutate_pods(decode_request(body))[1])["response"]["uid"] == "abc"


def priority_of(pod: dict[str, Any]) -> tuple[str, int, str]:
    spec = pod["spec"]
    return spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]
