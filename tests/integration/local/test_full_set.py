"""The whole set as `muster local` starts it: every service as itself, over TLS, with what manifests/ grants it."""

from __future__ import annotations

import base64
import http.client
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest

from muster_local.api_client import ApiClient
from muster_local.cluster import Cluster
from muster_local.components import START_ORDER, STORES, Component
from muster_local.errors import ApiError

pytestmark = pytest.mark.cluster

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/muster-webhook"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def client_of(cluster: Cluster, service: str) -> ApiClient:
    return ApiClient.from_kubeconfig(cluster.kubeconfig(service))


def webhooks(cluster: Cluster) -> list[dict[str, Any]]:
    configured: list[dict[str, Any]] = cluster.client.get(WEBHOOKS)["webhooks"]
    return configured


def test_everything_runs(cluster: Cluster) -> None:
    assert [part.name for part in cluster.status().components if part.running] == [
        name for name in START_ORDER if name not in (*STORES, Component.API)
    ]


@pytest.mark.parametrize("service", ["webhook", "extender", "controller"])
def test_a_service_is_its_own_account_and_nobody_else(cluster: Cluster, service: str) -> None:
    client = client_of(cluster, service)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = client.create(REVIEWS, review)["status"]["userInfo"]["username"]
    assert user == f"system:serviceaccount:muster-system:muster-{service}"
    with pytest.raises(ApiError) as caught:
        client.get("/api/v1/namespaces/kube-system/secrets")
    assert caught.value.status == http.client.FORBIDDEN
    client.close()


def test_the_api_server_asks_the_local_webhook_and_trusts_it(cluster: Cluster) -> None:
    address = urlsplit(cluster.url("webhook"))
    for webhook in webhooks(cluster):
        assert webhook["clientConfig"]["url"].startswith(cluster.url("webhook"))
        authority = base64.b64decode(webhook["clientConfig"]["caBundle"]).decode()
        context = ssl.create_default_context(cadata=authority)
        connection = http.client.HTTPSConnection("127.0.0.1", address.port, timeout=5, context=context)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == http.client.OK
        connection.close()


def test_a_second_up_changes_nothing(cluster: Cluster) -> None:
    before = cluster.status(), webhooks(cluster)
    cluster.up()
    assert (cluster.status(), webhooks(cluster)) == before


def test_a_second_replica_runs_beside_the_first(cluster: Cluster) -> None:
    cluster.start("controller@2")
    assert cluster.is_running("controller")
    assert cluster.status().component("controller@2").running
    cluster.stop("controller@2")
    assert not cluster.is_running("controller@2")


def test_no_service_was_refused_anything(cluster: Cluster) -> None:
    for service in ("webhook", "extender", "controller"):
        assert "is forbidden" not in cluster.log_path(service).read_text(), service
