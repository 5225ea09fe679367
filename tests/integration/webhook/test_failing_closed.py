"""Without the webhook: managed namespaces take no pods, everything else goes on, and nothing holds up a deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bones.builders import make_pod
from bones.control_plane import Kubectl, wait_until
from bones.kube import Kube
from muster_local.cluster import Cluster

pytestmark = pytest.mark.cluster

P = "aiplatform.example.com"
JOB = {
    "apiVersion": f"{P}/v1alpha1",
    "kind": "AIJob",
    "metadata": {"name": "kept", "finalizers": ["example.com/kept"]},
    "spec": {"jobType": "training", "image": "i"},
}


@pytest.fixture
def job(user: Kubectl, managed: str) -> str:
    user("create", "-n", managed, "-f", "-", stdin=json.dumps(JOB))
    return managed


@pytest.fixture
def without_webhook(plane: Cluster, job: str) -> Iterator[str]:
    """A managed namespace with a job, and no webhook any more."""
    plane.stop("webhook")
    yield job
    plane.start("webhook")


def test_managed_namespaces_take_no_pods(user: Kubectl, without_webhook: str) -> None:
    refusal = user.fails("create", "-f", "-", stdin=json.dumps(make_pod("p", without_webhook)))
    assert "pods.muster.aiplatform.example.com" in refusal


@pytest.mark.parametrize("namespace", ["unmanaged", "kube-system", "default"])
def test_other_namespaces_notice_nothing(
    client: Kube, without_webhook: str, request: pytest.FixtureRequest, namespace: str
) -> None:
    name = request.getfixturevalue("unmanaged") if namespace == "unmanaged" else namespace
    client.create(make_pod("notices-nothing", name))
    client.delete("pods", "notices-nothing", name, grace=0)


def test_existing_pods_and_jobs_can_be_changed_and_deleted(user: Kubectl, client: Kube, without_webhook: str) -> None:
    namespace = without_webhook
    user("label", "aijob", "kept", "-n", namespace, "a=b")
    tried = '{"status":{"attempt":1}}'
    user("patch", "aijob", "kept", "-n", namespace, "--subresource=status", "--type=merge", "-p", tried)
    user("delete", "aijob", "kept", "-n", namespace, "--wait=false")
    user("patch", "aijob", "kept", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert client.find("aijobs", "kept", namespace) is None


def test_a_changed_spec_needs_the_webhook(user: Kubectl, without_webhook: str) -> None:
    change = ("patch", "aijob", "kept", "-n", without_webhook, "--type=merge", "-p", '{"spec":{"priority":3}}')
    assert "jobs.muster.aiplatform.example.com" in user.fails(*change)


def test_it_works_again_once_the_webhook_is_back(plane: Cluster, client: Kube, managed: str) -> None:
    plane.stop("webhook")
    plane.start("webhook")
    assert client.create(make_pod("p", managed))["spec"]["schedulingGates"]


CONFIGURATIONS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"


@pytest.fixture
def without_configuration(user: Kubectl, managed: str) -> Iterator[str]:
    """A managed namespace of a cluster whose API server asks no webhook any more."""
    found = json.loads(user("get", CONFIGURATIONS, "-o", "json"))
    for item in found["items"]:
        item["metadata"] = {"name": item["metadata"]["name"], "labels": item["metadata"].get("labels", {})}
    user("delete", CONFIGURATIONS, "--all")
    yield managed
    user("create", "-f", "-", stdin=json.dumps(found))


@pytest.mark.parametrize(("gates", "missing"), [([], "spec.schedulingGates"), ([f"{P}/gang"], "resources")])
def test_a_member_that_no_webhook_has_seen_is_refused_even_with_a_gate_of_its_own(
    user: Kubectl, without_configuration: str, gates: list[str], missing: str
) -> None:
    pod = make_pod("p", without_configuration, gpus=None, gang="g", size=1)
    pod["spec"]["schedulingGates"] = [{"name": gate} for gate in gates]

    def is_refused() -> bool:
        try:
            user("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
        except AssertionError as refusal:
            return missing in str(refusal) and "muster-webhook did not see this pod" in str(refusal)
        return False

    wait_until(is_refused, 20, "the refusal by the policy alone")
