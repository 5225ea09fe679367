"""Bringing the objects of manifests/ and the services' credentials into a fresh API server."""

from __future__ import annotations

import base64
import secrets
import time
from pathlib import Path

from muster_api.names import RELEASE_KEY_OBJECT, SYSTEM_NAMESPACE
from muster_local.api_client import ApiClient
from muster_local.components import Component
from muster_local.credentials import write_kubeconfig
from muster_local.errors import ApiError, LocalError
from muster_local.layout import StateLayout
from muster_local.manifests import Document, other_objects, read_documents
from muster_local.secure_files import write_private

LOCAL_RBAC = Path(__file__).resolve().parent / "rbac"

_KEY_BYTES = 32
_TOKEN_SECONDS = 365 * 24 * 3600
_ESTABLISHED_SECONDS = 30.0
_POLL_SECONDS = 0.05
_NUDGE = "muster.local/nudge"


def apply_local_rbac(client: ApiClient) -> None:
    """The rights of the processes that only a local control plane has."""
    for path in sorted(LOCAL_RBAC.glob("*.yaml")):
        for document in read_documents(path):
            client.apply(document)


def apply_objects(client: ApiClient, documents: list[Document]) -> None:
    """Namespaces and CRDs first, then, once the API server serves those kinds, everything else."""
    ordered = other_objects(documents)
    definitions = [document for document in ordered if document["kind"] == "CustomResourceDefinition"]
    first = [document for document in ordered if document["kind"] == "Namespace"]
    first.append(_namespace(SYSTEM_NAMESPACE))
    rest = [document for document in ordered if document["kind"] not in ("Namespace", *_kinds(definitions))]
    client.for_each(client.apply, [*first, *definitions])
    for definition in definitions:
        _await_established(client, definition)
    client.for_each(client.apply, rest)
    _ensure_release_key(client)


def _kinds(documents: list[Document]) -> set[str]:
    return {document["kind"] for document in documents}


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _await_established(client: ApiClient, definition: Document) -> None:
    path = client.object_path(definition)
    deadline = time.monotonic() + _ESTABLISHED_SECONDS
    current = client.get(path)
    if not _is_established(current):
        # An API server that died in between looks at a half-established definition again only when it changes.
        client.patch(path, {"metadata": {"annotations": {_NUDGE: current["metadata"]["resourceVersion"]}}})
    while not _is_established(current) or not _is_served(client, definition):
        if time.monotonic() > deadline:
            name, conditions = definition["metadata"]["name"], current["status"].get("conditions")
            raise LocalError(f"the API server does not serve {name}: {conditions}")
        time.sleep(_POLL_SECONDS)
        current = client.get(path)


def _is_established(definition: Document) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)


def _is_served(client: ApiClient, definition: Document) -> bool:
    spec = definition["spec"]
    served = next(version["name"] for version in spec["versions"] if version["served"])
    try:
        resources = client.get(f"/apis/{spec['group']}/{served}")["resources"]
    except ApiError:
        return False
    return any(resource["name"] == spec["names"]["plural"] for resource in resources)


def _ensure_release_key(client: ApiClient) -> None:
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": RELEASE_KEY_OBJECT, "namespace": SYSTEM_NAMESPACE},
        "type": "Opaque",
        "data": {"current": key},
    }
    client.create(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets", document, exist_ok=True)


def mint_service_credentials(client: ApiClient, layout: StateLayout, component: Component, server: str) -> Path:
    """A token of the service's own ServiceAccount and its kubeconfig: no service runs as anybody else."""
    account = f"muster-{component}"
    accounts = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _TOKEN_SECONDS},
    }
    answer = client.create(f"{accounts}/{account}/token", request)
    write_private(layout.tokens / component, answer["status"]["token"])
    return write_kubeconfig(layout, component, server)


def await_default_service_account(client: ApiClient, seconds: float = 30.0) -> None:
    """Returns once pods can be created: admission refuses them until the controller made this account."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.get("/api/v1/namespaces/default/serviceaccounts/default")
        except ApiError as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return
