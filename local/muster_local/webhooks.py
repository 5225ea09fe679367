"""Pointing the API server's admission at the webhook process of this instance."""

from __future__ import annotations

import copy
import time

from muster_local.api_client import ApiClient
from muster_local.errors import LocalError
from muster_local.manifests import Document, webhook_configurations

_TRUST_SECONDS = 30.0
_POLL_SECONDS = 0.05


def install_webhooks(client: ApiClient, documents: list[Document], url: str) -> None:
    """Applies the webhook configurations with this instance's address instead of a Service's.

    The caBundle is not ours: the webhook fills it in with the authority that it makes and rotates.
    """
    for configuration in webhook_configurations(documents):
        client.apply(with_address(configuration, url))


def with_address(configuration: Document, url: str) -> Document:
    """The configuration as loopback needs it: the API server asks a URL, the path stays."""
    local = copy.deepcopy(configuration)
    for webhook in local["webhooks"]:
        path = webhook["clientConfig"]["service"].get("path", "/")
        webhook["clientConfig"] = {"url": f"{url}{path}"}
    return local


def await_trust(client: ApiClient, documents: list[Document]) -> None:
    """Returns once the webhook has put its authority into every configuration: before, each call would fail."""
    deadline = time.monotonic() + _TRUST_SECONDS
    for configuration in webhook_configurations(documents):
        path = client.object_path(configuration)
        while not _is_trusted(client.get(path)):
            if time.monotonic() > deadline:
                raise LocalError(f"the webhook has not filled in the caBundle of {path}")
            time.sleep(_POLL_SECONDS)


def _is_trusted(configuration: Document) -> bool:
    return all(webhook["clientConfig"].get("caBundle") for webhook in configuration["webhooks"])
