"""The certificate is renewed again and again while pods are created, and no creation fails for it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator

import pytest

from bones.builders import make_pod
from bones.control_plane import wait_until
from bones.kube import Kube
from muster_local.cluster import Cluster

pytestmark = pytest.mark.cluster

# Certificates begin five minutes in the past: with 160 s of life a third is left after 7 s.
HASTY = {
    "MUSTER_CERTIFICATE_LIFETIME_SECONDS": "160",
    "MUSTER_CERTIFICATE_OVERLAP_SECONDS": "1",
    "MUSTER_CERTIFICATE_POLL_SECONDS": "0.2",
}


@pytest.fixture
def hasty(plane: Cluster, client: Kube) -> Iterator[Cluster]:
    """The control plane with a webhook that renews its certificate every few seconds."""
    for environment in (HASTY, {}):
        plane.stop("webhook")
        forget_certificate(client)
        plane.start("webhook", env=environment)
        if environment:
            yield plane


def forget_certificate(client: Kube) -> None:
    client.patch("secrets", "muster-webhook-tls", {"data": None}, "muster-system")


def served(cluster: Cluster) -> str:
    host, _, port = cluster.url("webhook").removeprefix("https://").partition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_renewal_interrupts_nothing(hasty: Cluster, client: Kube, managed: str) -> None:
    pid = hasty.pid("webhook")
    seen = {served(hasty)}
    failures: list[Exception] = []
    over = threading.Event()

    def create_pods() -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                client.create(make_pod(f"p{number}", managed))
            except Exception as error:
                failures.append(error)

    def renewed_twice() -> bool:
        seen.add(served(hasty))
        return len(seen) >= 3

    creating = threading.Thread(target=create_pods)
    creating.start()
    try:
        wait_until(renewed_twice, 60, "two new certificates")
    finally:
        over.set()
        creating.join()
    assert failures == []
    assert hasty.pid("webhook") == pid
    assert len(client.items("pods", managed)) > 20


def test_a_spoilt_bundle_is_repaired(hasty: Cluster, client: Kube, managed: str) -> None:
    spoil = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]
    client.patch("mutatingwebhookconfigurations", "muster-webhook", spoil, kind="application/json-patch+json")
    wait_until(lambda: _can_create(client, managed), 20, "a working webhook")


def test_a_lost_certificate_is_made_anew(hasty: Cluster, client: Kube, managed: str) -> None:
    before = served(hasty)
    forget_certificate(client)
    wait_until(lambda: served(hasty) != before, 20, "another certificate")
    wait_until(lambda: _can_create(client, managed), 20, "a working webhook")


def _can_create(client: Kube, namespace: str) -> bool:
    try:
        client.create({**make_pod("x", namespace), "metadata": {"generateName": "x-", "namespace": namespace}})
    except Exception:
        return False
    return True
