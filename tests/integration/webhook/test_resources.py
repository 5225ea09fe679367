"""The resources on a real API server: the specification's examples as they stand, and every rule of the schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bones.control_plane import Kubectl

pytestmark = pytest.mark.cluster

P = "aiplatform.example.com"
EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
ID = "abcdefghijklmnop"


def make(kind: str, spec: dict[str, Any], name: str = "a", **more: Any) -> str:
    group = "gpu.warp.dev" if kind == "GPUWorkload" else P
    return json.dumps(
        {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec, **more}
    )


def job(**spec: Any) -> str:
    return make("AIJob", {"jobType": "training", "image": "i", **spec})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("where", ["managed", "unmanaged"])
def test_an_example_of_the_specification_applies_and_applies_again(
    user: Kubectl, request: pytest.FixtureRequest, example: Path, where: str
) -> None:
    namespace = request.getfixturevalue(where)
    assert user("apply", "-n", namespace, "-f", str(example)).split()[-1] in ("created", "unchanged", "configured")
    assert user("apply", "-n", namespace, "-f", str(example)).split()[-1] in ("unchanged", "configured")
    shown = json.loads(user("get", "-n", namespace, "-f", str(example), "-o", "json"))
    assert shown["spec"]
    user("delete", "-n", namespace, "-f", str(example))


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (make("AIJob", {"image": "i"}), "spec.jobType"),
        (job(jobType="x"), 'supported values: "inference", "simulation", "training"'),
        (job(priority=101), "spec.priority"),
        (make("AIJob", {"jobType": "training"}), "spec.image: Invalid value: required with execution: pod"),
        (job(gang={"enabled": True}), "spec.gang.minMembers: Invalid value: required with enabled: true"),
        (
            job(gang={"enabled": True, "minMembers": 4, "members": 3}),
            "spec.gang.members: Invalid value: must come with minMembers and not be less",
        ),
        (
            job(gang={"enabled": True, "minMembers": 1}, execution="pool"),
            "spec.gang.enabled: Invalid value: a gang needs execution: pod",
        ),
        (job(gang={"topology": "star"}), "spec.gang.topology"),
        (job(resources={"requests": {"cpu": "two"}}), "spec.resources.requests.cpu"),
        (job(env=[{"name": "A"}, {"name": "A"}]), "Duplicate value"),
        (job(retryPolicy={"maxRetries": -1}), "spec.retryPolicy.maxRetries"),
        (job(strategy="best"), "spec.strategy"),
        (job(queue="No Queue"), "spec.queue"),
        (make("AIJob", {"jobType": "training", "image": "i"}, name="a.b"), "metadata.name becomes host names"),
        (make("AIJob", {"jobType": "training", "image": "i"}, name="a" * 51), "at most 50 lower-case letters"),
        (make("AIJobQueue", {"maxConcurrency": -1}), "spec.maxConcurrency"),
        (make("AIJobQueue", {}, name="a.b"), "metadata.name becomes a label"),
        (make("AIJobQueue", {"preemptionPolicy": "Always"}), "spec.preemptionPolicy"),
        (make("ComputeCluster", {"capacity": {"maxGPUs": -1}}), "spec.capacity.maxGPUs"),
        (make("ComputeCluster", {"nodeSelector": {"a": "b c"}}), "spec.nodeSelector.a"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 0}), "spec.gpuCount"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 1, "priority": "asap"}), "spec.priority"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 1}, name="a.b"), "metadata.name becomes a Job"),
        (make("Gang", {"id": "short", "members": 1, "minMembers": 1}), "spec.id"),
        (make("Gang", {"id": ID, "members": 1, "minMembers": 2}), "minMembers must not be more than members"),
        (make("Gang", {"id": ID, "members": 0, "minMembers": 0}), "spec.members"),
        (make("PlacementTerm", {}, name="other"), "there is one PlacementTerm, named default"),
    ],
    ids=lambda value: value[:70] if isinstance(value, str) and not value.startswith("{") else None,
)
def test_the_schema_refuses_with_a_path(user: Kubectl, unmanaged: str, subject: str, told: str) -> None:
    assert told in user.fails("create", "-n", unmanaged, "-f", "-", stdin=subject)


@pytest.mark.parametrize(
    ("subject", "patch", "told"),
    [
        (job(), {"spec": {"jobType": "inference"}}, "jobType and execution cannot change"),
        (job(), {"spec": {"image": "j"}}, "spec.image: Invalid value: cannot change"),
        (job(), {"spec": {"command": ["x"]}}, "spec.command: Invalid value: cannot change"),
        (job(), {"spec": {"args": ["x"]}}, "spec.args: Invalid value: cannot change"),
        (job(), {"spec": {"gang": {"topology": "ring"}}}, "spec.gang: Invalid value: cannot change"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 1}), {"spec": {"gpuCount": 2}}, "spec.gpuCount"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 1}), {"spec": {"modelName": "n"}}, "spec.modelName"),
        (
            make("Gang", {"id": ID, "members": 1, "minMembers": 1}),
            {"spec": {"id": "b" * 16}},
            "spec.id: Invalid value: the id never changes",
        ),
    ],
    ids=["type", "image", "command", "args", "gang", "GPU count", "model", "gang id"],
)
def test_what_cannot_change(user: Kubectl, managed: str, subject: str, patch: dict[str, Any], told: str) -> None:
    user("create", "-n", managed, "-f", "-", stdin=subject)
    kind = json.loads(subject)["kind"]
    assert told in user.fails("patch", kind, "a", "-n", managed, "--type=merge", "-p", json.dumps(patch))


def test_what_can_change(user: Kubectl, managed: str) -> None:
    user("create", "-n", managed, "-f", "-", stdin=job())
    patch = {"spec": {"priority": 90, "suspend": True, "timeoutSeconds": 60, "queue": "other"}}
    user("patch", "aijob", "a", "-n", managed, "--type=merge", "-p", json.dumps(patch))


def test_the_fence_never_goes_back(user: Kubectl) -> None:
    user("patch", "placementterm", "default", "--type=merge", "-p", '{"spec":{"term":7,"seq":3}}')
    for back in ('{"spec":{"term":6,"seq":9}}', '{"spec":{"term":7,"seq":2}}'):
        refusal = user.fails("patch", "placementterm", "default", "--type=merge", "-p", back)
        assert "the fence only moves forward" in refusal
    user("patch", "placementterm", "default", "--type=merge", "-p", '{"spec":{"term":8,"seq":0}}')


def test_defaults_are_filled_in(user: Kubectl, managed: str) -> None:
    gang = {"enabled": True, "minMembers": 4, "topology": "ring"}
    user("create", "-n", managed, "-f", "-", stdin=job(gang=gang, resources={"requests": {"nvidia.com/gpu": 1}}))
    spec = json.loads(user("get", "aijob", "a", "-n", managed, "-o", "json"))["spec"]
    assert spec["gang"] == {**gang, "members": 4}
    assert spec["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert spec["retryPolicy"] == {"maxRetries": 3, "backoffMultiplier": 2, "backoffSeconds": 10}
    assert (spec["queue"], spec["execution"], spec["suspend"]) == ("default", "pod", False)


def test_the_webhook_names_every_error_that_the_schema_cannot_see(user: Kubectl, managed: str) -> None:
    wrong = job(resources={"requests": {"cpu": 2, "nvidia.com/gpu": 1}, "limits": {"cpu": 1, "nvidia.com/gpu": 2}})
    refusal = user.fails("create", "-n", managed, "-f", "-", stdin=wrong)
    assert "spec.resources.requests[cpu]: 2 must be at most the limit, which is 1" in refusal
    assert "spec.resources.requests[nvidia.com/gpu]: 1 must be equal to the limit, which is 2" in refusal


def test_conditions_are_a_map_and_status_is_a_subresource(user: Kubectl, managed: str) -> None:
    user("create", "-n", managed, "-f", "-", stdin=make("Gang", {"id": ID, "members": 1, "minMembers": 1}))
    for kind, manager in (("Scheduled", "one"), ("Healthy", "two")):
        status = {"conditions": [{"type": kind, "status": "True"}]}
        applied = make("Gang", {"id": ID, "members": 1, "minMembers": 1}, status=status)
        arguments = ("apply", "-n", managed, "--server-side", "--subresource=status", f"--field-manager={manager}")
        user(*arguments, "--force-conflicts", "-f", "-", stdin=applied)
    conditions = json.loads(user("get", "gang", "a", "-n", managed, "-o", "json"))["status"]["conditions"]
    assert sorted(condition["type"] for condition in conditions) == ["Healthy", "Scheduled"]


@pytest.mark.parametrize(
    ("resource", "columns"),
    [
        ("gg", "NAME PHASE BOUND PRESENT MIN QUEUE PRIORITY REASON AGE"),
        ("aij", "NAME QUEUE PHASE REASON GPUS READY ATTEMPT PRIORITY AGE"),
        ("aiq", "NAME MAX PRIORITY PENDING RUNNING AGE"),
        ("gpuw", "NAME MODEL GPUS PRIORITY PHASE NODE AGE"),
    ],
)
def test_kubectl_get_shows_what_matters(user: Kubectl, managed: str, resource: str, columns: str) -> None:
    subjects = {
        "gg": make("Gang", {"id": ID, "members": 1, "minMembers": 1}),
        "aij": job(),
        "aiq": make("AIJobQueue", {}),
        "gpuw": make("GPUWorkload", {"modelName": "m", "gpuCount": 1}),
    }
    user("create", "-n", managed, "-f", "-", stdin=subjects[resource])
    assert user("get", resource, "-n", managed).splitlines()[0].split() == columns.split()
    assert user("get", "ai", "-n", managed).count("/a ") == 1
