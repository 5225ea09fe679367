"""Properties of the manifests that no API server checks: whom admission can hurt, and what nobody is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_api import names, priorities

MANIFESTS = Path(__file__).parents[3] / "manifests"
MANAGED = {
    "matchLabels": {names.MANAGED_LABEL: "true"},
    "matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", names.SYSTEM_NAMESPACE]}
    ],
}


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((MANIFESTS / folder).rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from (document for document in yaml.safe_load_all(path.read_text()) if document)


def of_kind(folder: str, *kinds: str) -> list[dict[str, Any]]:
    return [document for document in documents(folder) if document["kind"] in kinds]


WEBHOOKS = [
    webhook
    for document in of_kind("admission", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
    for webhook in document["webhooks"]
]
ROLES = of_kind("rbac", "Role", "ClusterRole")
RULES = [(role["metadata"]["name"], rule) for role in ROLES for rule in role["rules"]]


@pytest.mark.parametrize("webhook", WEBHOOKS, ids=lambda webhook: str(webhook["name"]))
def test_a_webhook_fails_closed_where_it_is_asked_and_is_asked_nowhere_else(webhook: dict[str, Any]) -> None:
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["sideEffects"] == "None"
    assert webhook["timeoutSeconds"] <= 5
    assert webhook["admissionReviewVersions"] == ["v1"]
    assert "caBundle" not in webhook["clientConfig"]
    for rule in webhook["rules"]:
        ours = all(group in (names.GROUP, names.GPU_GROUP) for group in rule["apiGroups"])
        assert webhook.get("namespaceSelector") == MANAGED or (ours and rule["scope"] == "Cluster")
        assert not any("/" in resource or "*" in resource for resource in rule["resources"])


@pytest.mark.parametrize(
    "binding", of_kind("admission", "ValidatingAdmissionPolicyBinding"), ids=lambda each: str(each["metadata"]["name"])
)
def test_a_policy_binds_in_managed_namespaces_only(binding: dict[str, Any]) -> None:
    assert binding["spec"]["validationActions"] == ["Deny"]
    assert binding["spec"]["matchResources"]["namespaceSelector"] == MANAGED


def test_every_policy_is_bound() -> None:
    bound = {each["spec"]["policyName"] for each in of_kind("admission", "ValidatingAdmissionPolicyBinding")}
    assert {each["metadata"]["name"] for each in of_kind("admission", "ValidatingAdmissionPolicy")} == bound


def test_policies_name_accounts_and_fields_as_the_vocabulary_does() -> None:
    text = (MANIFESTS / "admission" / "policies.yaml").read_text()
    for name in (names.CONTROLLER_USER, names.GATE, names.RELEASE_ANNOTATION, names.GANG_SIZE_ANNOTATION):
        assert name in text
    assert f"system:serviceaccount:{names.SYSTEM_NAMESPACE}:{names.EXTENDER_ACCOUNT}" in text
    assert "system:serviceaccount:kube-system" not in text


def test_a_member_without_the_markers_is_refused_whoever_gated_it() -> None:
    policies = {each["metadata"]["name"]: each for each in of_kind("admission", "ValidatingAdmissionPolicy")}
    rules = [rule["expression"] for rule in policies["muster-pod-creation"]["spec"]["validations"]]
    assert any(f"'{names.MEMBER_MARKER}', '{names.BIND_MARKER}'" in rule for rule in rules)


@pytest.mark.parametrize(("role", "rule"), RULES, ids=[role for role, _ in RULES])
def test_no_right_is_a_wildcard_and_secrets_are_named(role: str, rule: dict[str, Any]) -> None:
    if "nonResourceURLs" in rule:
        assert not any("*" in path for path in rule["nonResourceURLs"])
        return
    assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    if "secrets" in rule["resources"]:
        assert set(rule["resourceNames"]) <= {names.RELEASE_KEY_OBJECT, names.WEBHOOK_TLS_OBJECT}
    assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_people_cannot_write_gangs() -> None:
    for role in ROLES:
        if role["metadata"].get("labels"):
            written = [rule for rule in role["rules"] if set(rule["verbs"]) - {"get", "list", "watch"}]
            assert not any("gangs" in rule["resources"] for rule in written)


def test_priority_classes_follow_from_the_vocabulary() -> None:
    classes = list(yaml.safe_load_all((MANIFESTS / "priorityclasses.yaml").read_text()))
    assert {each["metadata"]["name"]: each["value"] for each in classes} == priorities.CLASS_VALUES
    assert {each["preemptionPolicy"] for each in classes} == {"Never"}
    assert not any(each.get("globalDefault") for each in classes)


def test_the_scheduler_asks_the_extender_about_all_that_the_webhook_marks() -> None:
    config = yaml.safe_load((MANIFESTS / "scheduler" / "kube-scheduler-config.yaml").read_text())
    short, barrier = config["extenders"]
    assert {each["name"]: each["ignoredByScheduler"] for each in short["managedResources"]} == {
        names.GPU_RESOURCE: False,
        names.MEMBER_MARKER: True,
    }
    assert barrier["managedResources"] == [{"name": names.BIND_MARKER, "ignoredByScheduler": True}]
    assert (short["httpTimeout"], barrier["httpTimeout"]) == ("2s", "120s")
    assert not short["ignorable"]
    assert not barrier["ignorable"]
    assert config["percentageOfNodesToScore"] == 100
    assert (config["clientConnection"]["qps"], config["clientConnection"]["burst"]) == (2000, 4000)


def test_every_file_is_part_of_a_kustomization() -> None:
    for folder in ("crd", "rbac", "admission"):
        listed = yaml.safe_load((MANIFESTS / folder / "kustomization.yaml").read_text())["resources"]
        assert {path.name for path in (MANIFESTS / folder).glob("*.yaml")} - {"kustomization.yaml"} == set(listed)
