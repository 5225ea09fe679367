"""The scheduler's configuration: the one of manifests/, with this instance's addresses in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any


def local_scheduler_config(shipped: dict[str, Any], kubeconfig: Path, extender_url: str | None) -> dict[str, Any]:
    """The shipped configuration for loopback; without an extender it is the stock scheduler with our limits."""
    config = copy.deepcopy(shipped)
    config.setdefault("clientConnection", {})["kubeconfig"] = str(kubeconfig)
    # One scheduler an instance: waiting for a lease would only delay its restart after a kill.
    config["leaderElection"] = {"leaderElect": False}
    if extender_url is None:
        config.pop("extenders", None)
        return config
    for extender in config.get("extenders", []):
        extender["urlPrefix"] = extender_url
        extender.pop("tlsConfig", None)
        extender["enableHTTPS"] = False
    return config
