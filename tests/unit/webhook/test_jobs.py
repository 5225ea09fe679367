"""Defaults and rules of what users write: AIJob, AIJobQueue, ComputeCluster, GPUWorkload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bones.reviews import make_review, patch_of, patched
from muster_webhook.handlers import Handlers
from muster_webhook.reviews import decode_request

P = "aiplatform.example.com"
HANDLERS = Handlers(("nvidia.com/gpu",))


def make(kind: str, spec: dict[str, Any], name: str = "a", **metadata: Any) -> dict[str, Any]:
    group = "gpu.warp.dev" if kind == "GPUWorkload" else P
    return {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def job(**spec: Any) -> dict[str, Any]:
    return make("AIJob", {"jobType": "training", "image": "i", **spec})


def defaulted(subject: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(make_review(subject)).encode()
    spec: dict[str, Any] = patched(subject, patch_of(HANDLERS.mutate_resources(decode_request(body))[1]))["spec"]
    return spec


def refusal(subject: dict[str, Any], **review: Any) -> str:
    """Why it is refused; empty when it is not."""
    body = json.dumps(make_review(subject, **review)).encode()
    response = json.loads(HANDLERS.validate_resources(decode_request(body))[1])["response"]
    return "" if response["allowed"] else str(response["status"]["message"])


def warnings(subject: dict[str, Any], **review: Any) -> list[str]:
    """What its user is told although it passes."""
    body = json.dumps(make_review(subject, **review)).encode()
    response = json.loads(HANDLERS.validate_resources(decode_request(body))[1])["response"]
    assert response["allowed"]
    found: list[str] = response.get("warnings", [])
    return found


def test_members_follow_from_the_minimum() -> None:
    assert defaulted(job(gang={"enabled": True, "minMembers": 4}))["gang"]["members"] == 4
    assert defaulted(job(gang={"enabled": True, "minMembers": 4, "members": 8}))["gang"]["members"] == 8
    assert "members" not in defaulted(job(gang={"enabled": False}))["gang"]


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (
            {"requests": {"cpu": "2", "nvidia.com/gpu": "1"}},
            {"requests": {"cpu": "2", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        ),
        (
            {"limits": {"cpu": "2", "nvidia.com/gpu": 1}},
            {"requests": {"cpu": "2", "nvidia.com/gpu": 1}, "limits": {"cpu": "2", "nvidia.com/gpu": 1}},
        ),
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        ),
        ({}, {}),
    ],
    ids=["GPU requests are limits too", "limits are requests too", "what is given stays", "nothing follows of nothing"],
)
def test_requests_and_limits_complete_each_other(given: dict[str, Any], want: dict[str, Any]) -> None:
    once = defaulted(job(resources=given))
    assert once["resources"] == want
    assert defaulted(make("AIJob", once)) == once


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        (make("AIJob", {}), "spec.jobType: required; write inference or simulation or training"),
        (job(jobType="x"), "spec.jobType: 'x' is not accepted; write inference or simulation or training"),
        (job(priority=101), "spec.priority: 101 is out of range; write a number from 0 to 100"),
        (job(priority="high"), "spec.priority: 'high' is not accepted; write a whole number"),
        (make("AIJob", {"jobType": "training"}), "spec.image: required with execution: pod"),
        (job(image="a b"), "spec.image: 'a b' is no container image's name"),
        (job(gang={"enabled": True}), "spec.gang.minMembers: required with enabled: true"),
        (job(gang={"enabled": True, "minMembers": 4, "members": 3}), "spec.gang.members: 3 must come with minMembers"),
        (job(gang={"enabled": True, "minMembers": 1}, execution="pool"), "spec.gang.enabled: a gang needs execution"),
        (job(gang={"enabled": "yes"}), "spec.gang.enabled: 'yes' is not accepted; write true or false"),
        (job(resources={"requests": {"cpu": "two"}}), "spec.resources.requests[cpu]: 'two' is no quantity"),
        (job(resources={"requests": {"cpu": "-1"}}), "spec.resources.requests[cpu]: '-1' is no quantity"),
        (job(resources={"limits": {"nvidia.com/gpu": "0.5"}}), "cannot be shared out; write a whole number"),
        (
            job(resources={"limits": {"nvidia.com/gpu": "9E"}}),
            "spec.resources.limits[nvidia.com/gpu]: '9E' is too much; write at most 1000000",
        ),
        (
            job(resources={"requests": {"memory": "1Ei"}}),
            "spec.resources.requests[memory]: '1Ei' is too much; write at most 1P",
        ),
        (make("AIJobQueue", {"defaultResources": {"requests": {"cpu": "2E"}}}), "'2E' is too much; write at most 1P"),
        (job(resources={"requests": {"cpu": 2}, "limits": {"cpu": 1}}), "2 must be at most the limit, which is 1"),
        (
            job(resources={"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}),
            "1 must be equal to the limit, which is 2",
        ),
        (job(resources={"requests": {"a b": 1}}), "spec.resources.requests[a b]: is no resource's name"),
        (job(queue="My Queue"), "spec.queue: 'My Queue' is no name"),
        (job(queue=""), "spec.queue: '' is no name"),
        (job(cluster="UPPER"), "spec.cluster: 'UPPER' is no name"),
        (job(strategy="best"), "spec.strategy: 'best' is not accepted; write binpack or"),
        (job(env=[{"name": "A"}, {"name": "A"}]), "spec.env[1].name: 'A' stands there twice"),
        (job(env=[{"name": "A=B"}]), "spec.env[0].name: 'A=B' is no variable's name"),
        (job(config={"x": "y" * 70_000}), "spec.config: 70008 bytes are too many"),
        (job(retryPolicy={"maxRetries": -1}), "spec.retryPolicy.maxRetries: -1 is out of range"),
        (job(timeoutSeconds=0), "spec.timeoutSeconds: 0 is out of range"),
        (make("AIJob", job()["spec"], name="a.b"), "metadata.name: 'a.b' cannot become a host name"),
        (make("AIJob", job()["spec"], name="a" * 51), "cannot become a host name; write at most 50"),
        (make("AIJobQueue", {"maxConcurrency": -1}), "spec.maxConcurrency: -1 is out of range"),
        (make("AIJobQueue", {"priorityClass": "urgent"}), "spec.priorityClass: 'urgent' is not accepted; write low or"),
        (make("AIJobQueue", {}, name="a.b"), "metadata.name: 'a.b' is no name"),
        (make("ComputeCluster", {"nodeSelector": {"a b": "c"}}), "spec.nodeSelector[a b]: is no label's name"),
        (make("ComputeCluster", {"nodeSelector": {"a": "b c"}}), "'b c' is no label's value"),
        (make("ComputeCluster", {"capacity": {"maxGPUs": -1}}), "spec.capacity.maxGPUs: -1 is out of range"),
        (make("GPUWorkload", {"modelName": "m", "gpuCount": 0}), "spec.gpuCount: 0 is out of range"),
        (make("GPUWorkload", {"modelName": "", "gpuCount": 1}), "spec.modelName: required"),
        (make("GPUWorkload", {"modelName": "m"}), "spec.gpuCount: required; write a whole number"),
        (
            make("GPUWorkload", {"modelName": "m", "gpuCount": 1, "priority": "asap"}),
            "spec.priority: 'asap' is not accepted; write low or normal or high or critical",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
def test_an_error_is_named_with_its_path_and_what_would_be_accepted(subject: dict[str, Any], told: str) -> None:
    assert told in refusal(subject)


def test_all_errors_come_at_once() -> None:
    wrong = job(priority=101, queue="", retryPolicy={"maxRetries": -1}, resources={"requests": {"cpu": "x"}})
    assert refusal(wrong).count("; write") == 4


def test_all_errors_of_form_come_at_once() -> None:
    wrong = job(jobType="x", priority="y", gang=[], env={}, command=[1])
    assert [part.split(":")[0] for part in refusal(wrong).split("; spec")] == [
        "spec.jobType",
        ".priority",
        ".command[0]",
        ".env",
        ".gang",
    ]


@pytest.mark.parametrize(
    "subject",
    [
        job(),
        job(priority=0),
        job(resources={"requests": {"cpu": 2, "memory": "8Gi", "nvidia.com/gpu": "1"}}),
        job(resources={"requests": {"cpu": "1M", "memory": "1P"}, "limits": {"nvidia.com/gpu": "1M"}}),
        job(gang={"enabled": True, "minMembers": 4, "topology": "ring"}, retryPolicy={"backoffMultiplier": 1.5}),
        make("AIJob", {"jobType": "inference", "execution": "pool"}),
        make("AIJobQueue", {"maxConcurrency": 100, "priorityClass": "high"}),
        make("ComputeCluster", {"nodeSelector": {"accelerator": "nvidia-a100", "example.com/x": ""}}),
        make("GPUWorkload", {"modelName": "llama2", "gpuCount": 2, "schedulingStrategy": "leastLoaded"}),
    ],
)
def test_what_is_right_passes(subject: dict[str, Any]) -> None:
    assert refusal(subject) == ""


def test_variables_that_muster_sets_are_not_dropped_without_a_word() -> None:
    env = [{"name": name, "value": "x"} for name in ("MINE", "RANK", "MUSTER_CHECKPOINT_DIR", "PET_NNODES")]
    told = [
        "spec.env[1].name: RANK is set by Muster and yours is not used",
        "spec.env[3].name: PET_NNODES is set by Muster and yours is not used",
    ]
    assert warnings(job(env=env)) == told
    assert warnings(job(env=env, priority=1), operation="UPDATE", old=job(env=env)) == told
    assert warnings(job(env=env[:1])) == []


def test_an_update_may_leave_alone_what_was_wrong_before() -> None:
    old = job(queue="Old Queue", priority=1)
    assert refusal(job(queue="Old Queue", priority=2), operation="UPDATE", old=old) == ""
    assert "spec.priority" in refusal(job(queue="Old Queue", priority=200), operation="UPDATE", old=old)


def test_nothing_holds_up_a_deletion() -> None:
    leaving = make("AIJob", {"jobType": "training"}, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[])
    assert refusal(leaving, operation="UPDATE", old=leaving) == ""
    assert refusal(job(queue=""), operation="DELETE") == ""


def test_status_stays_free() -> None:
    assert refusal(job(queue=""), operation="UPDATE", sub_resource="status") == ""


def test_other_kinds_are_none_of_our_business() -> None:
    assert refusal({"apiVersion": "example.com/v1", "kind": "AIJob", "metadata": {}, "spec": 7}) == ""


def test_what_has_the_wrong_form_is_left_to_the_schema() -> None:
    assert defaulted(job(gang={"enabled": "yes"}))["gang"] == {"enabled": "yes"}
