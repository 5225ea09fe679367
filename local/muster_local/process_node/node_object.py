"""The Node object and its Lease as the agent writes them; pure."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from muster_kube.clock import micro_time, rfc3339

KIND_LABEL: Final = "muster.local/kind"
KIND: Final = "process"
LEASE_NAMESPACE: Final = "kube-node-lease"
_PRESSURES: Final = {
    "MemoryPressure": "KubeletHasSufficientMemory",
    "DiskPressure": "KubeletHasNoDiskPressure",
    "PIDPressure": "KubeletHasSufficientPID",
}


def node_document(name: str) -> dict[str, Any]:
    """The object that is registered; its status follows separately."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        KIND_LABEL: KIND,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def node_status(
    capacity: Mapping[str, str], address: str, port: int, now: datetime, since: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """`since` has the transition times of the conditions that were so before."""
    moment = rfc3339(now)
    conditions = [_condition(kind, "False", reason, moment, since) for kind, reason in _PRESSURES.items()]
    conditions.append(_condition("Ready", "True", "KubeletReady", moment, since))
    return {
        "capacity": dict(capacity),
        "allocatable": dict(capacity),
        "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": _node_info(),
    }


def _node_info() -> dict[str, str]:
    return {
        "architecture": platform.machine(),
        "operatingSystem": "linux",
        "osImage": "processes of this machine",
        "kernelVersion": platform.release(),
        "containerRuntimeVersion": "muster-process://1",
        "kubeletVersion": "v0.0.0-muster",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def _condition(
    kind: str, status: str, reason: str, moment: str, since: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "the process node's agent says so",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": since.get((kind, status), moment),
    }


def lease_document(name: str, uid: str, seconds: float, now: datetime) -> dict[str, Any]:
    """The node's sign of life; it goes with the Node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": max(1, round(seconds)),
            "renewTime": micro_time(now),
        },
    }
