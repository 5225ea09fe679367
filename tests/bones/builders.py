"""Manifests with defaults: a test writes down only what it is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bones.names import GANG, GPU, MANAGED, MINIMUM, SIZE, TEST_LABEL

IMAGE = "registry.example/busybox"


def make_namespace(name: str, *, managed: bool = True) -> dict[str, Any]:
    labels = {MANAGED: "true"} if managed else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def make_node(
    name: str,
    *,
    cpu: int | str = 64,
    memory: str = "256Gi",
    gpus: int = 8,
    pods: int = 1000,
    labels: Mapping[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """A simulated node, born ready; pods bound to it run."""
    amounts = {"cpu": str(cpu), "memory": memory, "pods": str(pods), GPU: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "type": "kwok", **(labels or {})},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": taints} if taints else {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated"}],
            "addresses": [{"type": "Hostname", "address": name}],
        },
    }


def make_pod(
    name: str,
    namespace: str,
    *,
    gpus: int | None = 1,
    cpu: int | str = 1,
    memory: str = "1Gi",
    gang: str | None = None,
    size: int | None = None,
    minimum: int | None = None,
    on: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of one container; `gpus` None asks for none at all, `on` restricts it to that test's nodes."""
    asked: dict[str, str] = {"cpu": str(cpu), "memory": memory} | ({} if gpus is None else {GPU: str(gpus)})
    selector = {"nodeSelector": {TEST_LABEL: on}} if on else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": ({GANG: gang} if gang else {}) | dict(labels or {}),
            "annotations": _gang_annotations(size, minimum) | dict(annotations or {}),
        },
        "spec": {
            "containers": [{"name": "main", "image": IMAGE, "resources": {"requests": asked, "limits": dict(asked)}}],
            "terminationGracePeriodSeconds": 0,
            **selector,
            **spec,
        },
    }


def make_gang_pods(
    gang: str, namespace: str, size: int, *, count: int | None = None, first: int = 0, **changes: Any
) -> list[dict[str, Any]]:
    """`count` (default all) of the pods `<gang>-<n>` of a gang of `size`."""
    numbers = range(first, first + (size if count is None else count))
    return [make_pod(f"{gang}-{number}", namespace, gang=gang, size=size, **changes) for number in numbers]


def make_job(
    name: str, namespace: str, size: int, *, gang: str | None = None, on: str | None = None, **spec: Any
) -> dict[str, Any]:
    """A Job whose `size` pods are one gang when `gang` is given, and gangs of one otherwise."""
    pod = make_pod("template", namespace, gang=gang, size=size if gang else None, on=on, restartPolicy="Never")
    template = {
        "metadata": {key: pod["metadata"][key] for key in ("labels", "annotations")},
        "spec": pod["spec"],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"completions": size, "parallelism": size, "template": template, **spec},
    }


def make_priority_class(name: str, value: int, *, default: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "globalDefault": default,
    }


def as_list(manifests: list[dict[str, Any]]) -> str:
    """Many manifests as one document for kubectl."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})


def _gang_annotations(size: int | None, minimum: int | None) -> dict[str, str]:
    given = {SIZE: size, MINIMUM: minimum}
    return {key: str(value) for key, value in given.items() if value is not None}
