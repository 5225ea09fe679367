"""Finding and reading the manifests: the source tree's, or those that the wheel carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from muster_local.errors import ManifestsMissingError

Document = dict[str, Any]

_WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
SCHEDULER_CONFIG = Path("scheduler") / "kube-scheduler-config.yaml"


def manifest_root() -> Path:
    """The folder of manifests; an installed package carries its own copy beside this file."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "manifests", package.parents[1] / "manifests"):
        if candidate.is_dir():
            return candidate
    raise ManifestsMissingError(f"no manifests beside {package} nor in its source tree; install the package again")


def read_documents(path: Path) -> list[Document]:
    """Every object of a file; empty documents are skipped."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def cluster_objects(root: Path) -> list[Document]:
    """All objects that belong into a cluster: not kustomizations, not the scheduler's own file."""
    paths = sorted(path for path in root.rglob("*.yaml") if path.name != "kustomization.yaml")
    in_cluster = [path for path in paths if path != root / SCHEDULER_CONFIG]
    return [document for path in in_cluster for document in read_documents(path) if _is_object(document)]


def _is_object(document: Document) -> bool:
    return "kind" in document and "metadata" in document and "name" in document["metadata"]


def webhook_configurations(documents: list[Document]) -> list[Document]:
    return [document for document in documents if document["kind"] in _WEBHOOK_KINDS]


def other_objects(documents: list[Document]) -> list[Document]:
    """Everything but the webhook configurations, in the order in which the API server can take it."""
    rest = [document for document in documents if document["kind"] not in _WEBHOOK_KINDS]
    return sorted(rest, key=_application_order)


def _application_order(document: Document) -> int:
    order = {"Namespace": 0, "CustomResourceDefinition": 1, "ServiceAccount": 2}
    return order.get(document["kind"], 3)


def scheduler_config(root: Path) -> Document:
    """The shipped scheduler configuration."""
    path = root / SCHEDULER_CONFIG
    if not path.exists():
        raise ManifestsMissingError(f"{path} is missing")
    return read_documents(path)[0]
