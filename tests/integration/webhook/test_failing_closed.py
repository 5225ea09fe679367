"""Without the webhook: managed namespaces take no pods, everything else goes on, and nothing holds up a deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bones.builders import make_pod
from bones.control_plane import Kubectl
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
