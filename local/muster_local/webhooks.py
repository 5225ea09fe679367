"""Pointing the API server's admission at the webhook process of this instance."""

from __future__ import annotations

from muster_local.api_client import ApiClient
from muster_local.instance import Instance


def install_webhooks(client: ApiClient, instance: Instance) -> None:
    """Applies the webhook configurations with this instance's address and the authority of its certificate."""
