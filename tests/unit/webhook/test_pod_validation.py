"""What a user may not ask for in a pod: every error at once, each with its path and a way out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from bones.builders import make_pod
from bones.reviews import make_review
from muster_api.objects import Pod
from muster_webhook.handlers import Handlers
from muster_webhook.pod_validation import misspelt_annotations, validate_pod
from muster_webhook.pods import Admission
from muster_webhook.reviews import decode_request

P = "aiplatform.example.com"
CONTROLLER = "system:serviceaccount:muster-system:muster-controller"


def errors(pod: dict[str, Any], user: str = "alice") -> dict[str, str]:
    decoded = msgspec.json.decode(json.dumps(pod).encode(), type=Pod)
    return {error.path: error.message for error in validate_pod(decoded, Admission(username=user))}


def member(**annotations: str) -> dict[str, Any]:
    named = {f"{P}/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return make_pod("p", "ns", gang="g", annotations=named)


@pytest.mark.parametrize(
    ("annotations", "path", "told"),
    [
        ({}, "gang-size", "required with the label"),
        ({"gang_size": ""}, "gang-size", "a whole number from 1 to 100000"),
        ({"gang_size": "0"}, "gang-size", "a whole number from 1 to 100000"),
        ({"gang_size": "three"}, "gang-size", "'three' is not a whole number"),
        ({"gang_size": "-3"}, "gang-size", "'-3' is not"),
        ({"gang_size": "3.0"}, "gang-size", "'3.0' is not"),
        ({"gang_size": "٣"}, "gang-size", "is not a whole number"),
        ({"gang_size": "1" * 4000}, "gang-size", "is not a whole number"),
        ({"gang_size": "3", "gang_min": "4"}, "gang-min", "4 is more than the gang size of 3"),
        ({"gang_size": "3", "gang_min": "none"}, "gang-min", "'none' is not"),
        ({"gang_size": "3", "priority": "highest"}, "priority", "a whole number from 0 to 100, or low, normal"),
        ({"gang_size": "3", "priority": "101"}, "priority", "from 0 to 100"),
        ({"gang_size": "3", "priority": ""}, "priority", "from 0 to 100"),
        ({"gang_size": "3", "pin": "yes"}, "pin", "write allowed"),
        ({"gang_size": "3", "on_broken": "ignore"}, "on-broken", "write evict or keep"),
        ({"gang_size": "3", "max_runtime": "5 minutes"}, "max-runtime", "like 2h30m"),
        ({"gang_size": "3", "max_runtime": ""}, "max-runtime", "like 2h30m"),
        ({"gang_size": "3", "release": "v1.x"}, "release", "leave it out"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_annotation_is_named_with_what_would_be_accepted(
    annotations: dict[str, str], path: str, told: str
) -> None:
    found = errors(member(**annotations))
    assert list(found) == [f"metadata.annotations[{P}/{path}]"]
    assert told in found[f"metadata.annotations[{P}/{path}]"]
    assert len(str(found)) < 500


@pytest.mark.parametrize("value", ["3600", "90s", "2h30m", "2h", "1h1m1s", "45m"])
def test_durations_that_are_accepted(value: str) -> None:
    assert errors(member(gang_size="3", max_runtime=value)) == {}


@pytest.mark.parametrize("label", ["", "G", "a_b", "-a", "a-", "a" * 64, "a b", "ä"])
def test_a_gang_label_that_is_no_name(label: str) -> None:
    assert list(errors(make_pod("p", "ns", labels={f"{P}/gang": label}, size=3))) == [f"metadata.labels[{P}/gang]"]


@pytest.mark.parametrize("label", ["a", "train-7.b", "a" * 63, "0"])
def test_a_gang_label_that_is_a_name(label: str) -> None:
    assert errors(make_pod("p", "ns", gang=label, size=3)) == {}


def test_size_without_a_gang_is_an_oversight() -> None:
    assert list(errors(make_pod("p", "ns", size=3))) == [f"metadata.labels[{P}/gang]"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"nodeName": "n1"}, "spec.nodeName"),
        ({"schedulerName": "mine"}, "spec.schedulerName"),
    ],
)
def test_no_way_around_the_scheduler(spec: dict[str, Any], path: str) -> None:
    assert list(errors(make_pod("p", "ns", **spec))) == [path]


def test_a_pod_without_gpu_may_use_another_scheduler() -> None:
    assert errors(make_pod("p", "ns", gpus=None, schedulerName="mine")) == {}


def test_devices_that_are_only_claimed() -> None:
    claims = [{"name": "gpu", "resourceClaimName": "c"}]
    assert list(errors(make_pod("p", "ns", gpus=None, resourceClaims=claims))) == ["spec.resourceClaims"]
    assert errors(make_pod("p", "ns", gpus=1, resourceClaims=claims)) == {}


def test_a_marker_with_another_amount() -> None:
    pod = make_pod("p", "ns")
    pod["spec"]["containers"][0]["resources"]["limits"][f"{P}/member"] = "2"
    assert list(errors(pod)) == [f"spec.containers[0].resources.limits[{P}/member]"]


def test_a_queue_that_is_no_name() -> None:
    assert list(errors(make_pod("p", "ns", labels={f"{P}/queue": "My_Queue"}))) == [f"metadata.labels[{P}/queue]"]


def test_only_the_controller_brings_a_ticket() -> None:
    pod = make_pod("p", "ns", annotations={f"{P}/release": "v1.x"})
    assert errors(pod, user=CONTROLLER) == {}
    assert errors(pod, user="system:serviceaccount:kube-system:job-controller")


def test_all_errors_come_at_once() -> None:
    pod = member(gang_size="x", gang_min="y", priority="z", pin="p")
    pod["metadata"]["labels"] |= {f"{P}/gang": "G", f"{P}/queue": "Q"}
    pod["spec"] |= {"nodeName": "n", "schedulerName": "s"}
    assert len(errors(pod)) == 8


def test_mirror_pods_are_left_alone() -> None:
    pod = make_pod("p", "ns", annotations={"kubernetes.io/config.mirror": "x"}, nodeName="n")
    assert errors(pod) == {}


def test_the_denial_names_every_error() -> None:
    body = json.dumps(make_review(member(gang_size="x", priority="y"), uid="u1")).encode()
    result, answer = Handlers(("nvidia.com/gpu",)).mutate_pods(decode_request(body))
    response = json.loads(answer)["response"]
    assert (result, response["uid"], response["allowed"]) == ("denied", "u1", False)
    assert response["status"]["code"] == 422
    assert "gang-size" in response["status"]["message"]
    assert "priority" in response["status"]["message"]


def test_an_annotation_that_means_nothing_is_warned_of() -> None:
    pod = msgspec.json.decode(json.dumps(make_pod("p", "ns", annotations={f"{P}/gangsize": "3"})).encode(), type=Pod)
    assert misspelt_annotations(pod)[0].startswith(f"metadata.annotations[{P}/gangsize]: means nothing")
    assert misspelt_annotations(Pod()) == []
    traced = {"metadata": {"annotations": {f"{P}/trace": "x"}}}
    assert misspelt_annotations(msgspec.convert(traced, Pod)) == []
