"""Reaches into the etcd below a control plane, for faults that the API server itself offers no way to cause."""

from __future__ import annotations

import json
from typing import Any

import urllib3
from muster_local.cluster import Cluster


def compact(cluster: Cluster) -> int:
    """Forgets all history before now; returns the revision that is the oldest one left."""
    revision = int(_post(cluster, "kv/range", {"key": "AA=="})["header"]["revision"])
    _post(cluster, "kv/compaction", {"revision": str(revision), "physical": True})
    return revision


def _post(cluster: Cluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    layout = cluster.layout
    with urllib3.PoolManager(
        ca_certs=str(layout.certificate("ca")),
        cert_file=str(layout.certificate("etcd-client")),
        key_file=str(layout.private_key("etcd-client")),
    ) as pool:
        answer = pool.request("POST", f"{cluster.url('etcd')}/v3/{path}", body=json.dumps(body).encode())
    assert answer.status == 200, answer.data
    decoded: dict[str, Any] = json.loads(answer.data)
    return decoded
