"""Pods that run as processes: what they do is a line of shell or Python."""

from __future__ import annotations

from typing import Any

KIND = "muster.local/kind"


def shell_pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    """Runs a shell script on any process node, once unless `restartPolicy` is given."""
    return process_pod(name, {"image": "muster-host", "command": ["sh", "-c", script]}, **spec)


def process_pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod of one container `main` for process nodes."""
    labels = spec.pop("labels", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "nodeSelector": {KIND: "process"},
            "containers": [{"name": "main", **container}],
            **spec,
        },
    }
