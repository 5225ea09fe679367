"""The addresses of a gang's members below its Service: published by the controller alone, all of them and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bones.control_plane import Faults
from bones.job_stage import JobStage, status_of
from bones.judging import JudgeProcess
from bones.kube import Item, Items
from bones.names import P
from bones.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SIZE = 4
SERVICE = "kubernetes.io/service-name"
MANAGER = "endpointslice.kubernetes.io/managed-by"
OURS = "muster-controller"


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    stage.add_nodes(1)
    made = JobStage(stage)
    yield made
    stage.clear()
    made.strike()


def endpoints_of(slices: Items, manager: str = OURS) -> dict[str, str]:
    """Address by hostname."""
    return {
        endpoint["hostname"]: endpoint["addresses"][0]
        for slice_ in slices.values()
        if slice_["metadata"]["labels"][MANAGER] == manager
        for endpoint in slice_.get("endpoints") or []
    }


def addresses_of(pods: Items) -> dict[str, str]:
    return {name: pod.get("status", {}).get("podIP", "") for name, pod in pods.items()}


def wait_slices(jobs: JobStage, name: str, condition: Callable[[Items], Any], what: str) -> Items:
    return jobs.kube.wait_for(
        "endpointslices", condition, namespace=jobs.namespace, selector=f"{SERVICE}={name}", what=what
    )


def wait_published(jobs: JobStage, name: str, attempt: int = 1, size: int = SIZE) -> Items:
    """Until exactly the members of this attempt are published, with the addresses that they have."""
    hosts = {f"{name}-{attempt}-{rank}" for rank in range(size)}
    slices = wait_slices(
        jobs, name, lambda items: endpoints_of(items).keys() == hosts, f"addresses of attempt {attempt} of {name}"
    )
    assert endpoints_of(slices) == addresses_of(jobs.pods(name))
    return slices


def versions_of(slices: Items) -> dict[str, str]:
    return {name: slice_["metadata"]["resourceVersion"] for name, slice_ in slices.items()}


def test_the_members_of_a_gang_are_found_by_their_names(jobs: JobStage) -> None:
    owner = jobs.create("train", SIZE)["metadata"]
    jobs.wait_attempt("train", 1)
    slices = wait_published(jobs, "train")
    assert list(slices) == ["train-ipv4-0"]
    found = slices["train-ipv4-0"]
    assert found["addressType"] == "IPv4"
    assert found["metadata"]["labels"][f"{P}job"] == "train"
    assert [one["uid"] for one in found["metadata"]["ownerReferences"]] == [owner["uid"]]
    pods = jobs.pods("train")
    for rank, endpoint in enumerate(found["endpoints"]):
        pod = pods[f"train-1-{rank}"]
        assert (endpoint["nodeName"], endpoint["conditions"]) == (pod["spec"]["nodeName"], {"ready": True})
        reference = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": jobs.namespace}
        assert endpoint["targetRef"] == reference | {"uid": pod["metadata"]["uid"]}
    service = jobs.kube.get("services", "train", jobs.namespace)
    assert "selector" not in service["spec"]
    assert jobs.kube.items("endpoints", jobs.namespace) == {}
    assert set(jobs.kube.items("endpointslices", jobs.namespace)) == {"train-ipv4-0"}


def test_the_addresses_follow_a_job_to_its_end(jobs: JobStage) -> None:
    jobs.create("train", SIZE)
    jobs.wait_attempt("train", 1)
    wait_published(jobs, "train")
    jobs.kube.delete("pods", "train-1-3", jobs.namespace)
    jobs.wait_attempt("train", 2)
    wait_published(jobs, "train", attempt=2)
    for rank in range(SIZE):
        jobs.end(f"train-2-{rank}")
    jobs.wait_phase("train", "Succeeded")
    wait_slices(jobs, "train", lambda slices: not slices, "no address of a job that has ended")
    assert len(jobs.pods("train")) == SIZE


def test_a_slice_that_somebody_deletes_or_changes_is_put_right(jobs: JobStage) -> None:
    jobs.create("train", SIZE)
    uid = wait_published(jobs, "train")["train-ipv4-0"]["metadata"]["uid"]
    jobs.kube.delete("endpointslices", "train-ipv4-0", jobs.namespace)
    wait_slices(
        jobs,
        "train",
        lambda slices: any(slice_["metadata"]["uid"] != uid for slice_ in slices.values()),
        "the slice made anew",
    )
    wait_published(jobs, "train")
    jobs.kube.patch("endpointslices", "train-ipv4-0", {"endpoints": []}, jobs.namespace)
    wait_published(jobs, "train")
    stripped = {"metadata": {"labels": {MANAGER: None}}}
    jobs.kube.patch("endpointslices", "train-ipv4-0", stripped, jobs.namespace)
    wait_slices(
        jobs,
        "train",
        lambda slices: any(slice_["metadata"]["labels"].get(MANAGER) == OURS for slice_ in slices.values()),
        "the label put back",
    )


def test_a_new_leader_rewrites_nothing_that_is_right(jobs: JobStage, faults: Faults) -> None:
    jobs.create("train", SIZE)
    before = versions_of(wait_published(jobs, "train"))
    faults.kill("controller")
    faults.start("controller")
    jobs.create("later", 2)
    jobs.wait_attempt("later", 1, timeout=90)
    wait_published(jobs, "later", size=2)
    assert versions_of(wait_published(jobs, "train")) == before


def test_what_changed_while_nobody_led_is_published_afterwards(jobs: JobStage, faults: Faults) -> None:
    faults.arm("controller", "controller.endpoints.before@1=kill")
    jobs.create("train", SIZE)
    faults.wait_dead("controller")
    faults.start("controller")
    wait_published(jobs, "train")


def said_by(slice_: Item) -> Item:
    """All that cluster DNS and kube-proxy go by."""
    ours = ("addresses", "hostname", "nodeName", "targetRef")
    endpoints = [
        {field: endpoint[field] for field in ours} | {"ready": endpoint["conditions"]["ready"]}
        for endpoint in slice_["endpoints"]
    ]
    labels = slice_["metadata"]["labels"]
    return {
        "addressType": slice_["addressType"],
        "endpoints": sorted(endpoints, key=lambda endpoint: str(endpoint["hostname"])),
        "ports": slice_.get("ports"),
        "labels": {name: labels[name] for name in (SERVICE, f"{P}job", "service.kubernetes.io/headless")},
    }


def owned_service(job: Item) -> Item:
    """As an earlier version made it."""
    metadata = job["metadata"]
    owner = {"apiVersion": job["apiVersion"], "kind": "AIJob", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {f"{P}job": metadata["name"]},
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": {
            "clusterIP": "None",
            "selector": {f"{P}job": metadata["name"]},
            "publishNotReadyAddresses": True,
        },
    }


def test_a_service_with_a_selector_is_left_to_kubernetes(jobs: JobStage) -> None:
    job = jobs.create("train", SIZE, suspend=True)
    jobs.kube.create(owned_service(job))
    jobs.change("train", suspend=False)
    jobs.wait_attempt("train", 1)
    theirs = "endpointslice-controller.k8s.io"
    slices = wait_slices(
        jobs, "train", lambda items: len(endpoints_of(items, theirs)) == SIZE, "the addresses, from Kubernetes"
    )
    assert endpoints_of(slices) == {}
    jobs.kube.patch("services", "train", {"spec": {"selector": None}}, jobs.namespace)
    own = wait_published(jobs, "train")["train-ipv4-0"]
    (other,) = slices.values()
    assert said_by(own) == said_by(other)
    jobs.kube.patch("services", "train", {"spec": {"selector": {f"{P}job": "train"}}}, jobs.namespace)
    wait_slices(jobs, "train", lambda items: not endpoints_of(items), "no addresses of ours beside Kubernetes' own")


def test_a_service_of_somebody_else_gets_no_addresses(jobs: JobStage) -> None:
    """A job of one member runs beside it, since nobody has to find its only member."""
    jobs.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": jobs.namespace, "labels": {f"{P}job": "web"}},
            "spec": {"clusterIP": "None"},
        }
    )
    jobs.create("web")
    jobs.create("train", 2)
    jobs.wait("web", lambda job: status_of(job).get("ready") == "1/1", what="the member running")
    wait_published(jobs, "train", size=2)
    assert set(jobs.kube.items("endpointslices", jobs.namespace)) == {"train-ipv4-0"}
