"""One trace from the request of a job to its bound pods, through three processes and the collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bones.control_plane import Kubectl, start_cluster
from bones.job_stage import JobStage, environment_of
from bones.kube import Kube
from bones.names import P
from bones.rest_api import RestApi
from bones.span_receiver import SpanReceiver, span_receiver
from bones.stage import Stage
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MEMBERS = 3
PROCESSES = ("api", "controller", "extender")


@pytest.fixture(scope="module")
def receiver() -> Iterator[SpanReceiver]:
    with pytest.MonkeyPatch.context() as environment, span_receiver(environment) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, receiver: SpanReceiver) -> Iterator[Cluster]:
    """Its processes inherit where spans go."""
    running = start_cluster(tmp_path_factory.mktemp("traces"), nodes=0, stores=True)
    yield running
    running.down(purge=True)


@pytest.fixture(scope="module")
def kube(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster)


def test_a_job_is_one_trace_from_its_request_to_its_bound_pods(
    stage: Stage, cluster: Cluster, receiver: SpanReceiver
) -> None:
    stage.add_nodes(1)
    jobs = JobStage(stage)
    asked = {
        "name": "traced",
        "namespace": jobs.namespace,
        "job_type": "training",
        "image": "muster-worker",
        "cluster": jobs.cluster,
        "gang": {"enabled": True, "min_members": MEMBERS},
    }
    api = RestApi(cluster, jobs.namespace)
    answer = api.ask("POST", "/api/v1/jobs/", asked, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert answer.status == 201, answer.body
    jobs.wait_phase("traced", "Running")
    pods = jobs.pods("traced")
    for name in PROCESSES:
        cluster.stop(name)
    (submitted,), (made,), (admitted,) = map(receiver.named, ("submit job", "make AIJob", "gang admitted"))
    bound = receiver.named("bind pod")
    assert (submitted.service, submitted.trace, submitted.parent) == ("muster-api", TRACE, PARENT)
    assert {span.attributes["k8s.pod.name"] for span in bound} == set(pods) and len(pods) == len(bound) == MEMBERS
    assert {span.service for span in (made, admitted)} == {"muster-controller"}
    assert {span.service for span in bound} == {"muster-extender"}
    for span in (made, admitted, *bound):
        assert (span.trace, span.parent, span.error) == (TRACE, submitted.own, None)
    for pod in pods.values():
        assert pod["metadata"]["annotations"][f"{P}trace"] == environment_of(pod)["TRACEPARENT"]
        assert environment_of(pod)["TRACEPARENT"].startswith(submitted.context)
