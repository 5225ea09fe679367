"""The roles in manifests/ open every operation to somebody, and no more than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster_local.manifests import read_documents
from muster_queue.identity.access import Access
from muster_queue.rest.operations import OPERATIONS, Operation

RBAC = Path(__file__).resolve().parents[3] / "manifests/rbac"
ROLES = {
    each["metadata"]["name"]: each
    for file in ("users.yaml", "worker.yaml")
    for each in read_documents(RBAC / file)
    if each["kind"] == "ClusterRole"
}
OF_KUBERNETES = {"job_logs"}
"""Its own view role has pods/log."""


def kind_of(need: Access) -> str:
    return f"{need.resource}/{need.subresource}" if need.subresource else need.resource


def opens(role: dict[str, Any], operation: Operation) -> bool:
    need = operation.need
    return need is not None and any(
        need.verb in rule["verbs"]
        and (
            need.path in rule.get("nonResourceURLs", ())
            if need.path
            else kind_of(need) in rule.get("resources", ()) and need.group in rule.get("apiGroups", ())
        )
        for rule in role["rules"]
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "muster-view",
            {"list_jobs", "get_job", "job_events", "why", "list_queues", "list_dead_letters"},
        ),
        (
            "muster-edit",
            {"submit_job", "submit_jobs", "cancel_job", "change_job", "retry_job", "hold_job", "release_job"}
            | {"requeue_dead_letter", "drop_dead_letter"},
        ),
        ("muster-admin", {"list_audit", "verify_audit"}),
        ("muster-cluster-view", {"list_clusters"}),
        ("muster-metrics", {"metrics"}),
        ("muster-worker", {"lease_jobs", "heartbeat_jobs", "acknowledge_jobs"}),
    ],
)
def test_each_role_opens_what_its_holders_need(name: str, wanted: set[str]) -> None:
    assert {operation.name for operation in OPERATIONS if opens(ROLES[name], operation)} == wanted


def test_every_operation_is_open_to_somebody() -> None:
    closed = {
        operation.name
        for operation in OPERATIONS
        if operation.need is not None and not any(opens(role, operation) for role in ROLES.values())
    }
    assert closed == OF_KUBERNETES


def test_the_api_itself_may_only_ask_and_read() -> None:
    (role,) = (each for each in read_documents(RBAC / "api.yaml") if each["kind"] == "ClusterRole")
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["tokenreviews"], ["create"]),
        (["subjectaccessreviews"], ["create"]),
        (["pods/log"], ["get"]),
        (["aijobqueues", "computeclusters"], ["get", "list", "watch"]),
    ]
