"""Who may speak to the API server: static tokens for the operator and Kubernetes, kubeconfigs for all."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

import yaml

from muster_local.components import Component
from muster_local.layout import StateLayout
from muster_local.pki import AUTHORITY
from muster_local.secure_files import write_private

ADMIN = "admin"

# Name of the kubeconfig: (user name, groups). The names of Kubernetes' own users carry their built-in RBAC.
_STATIC_USERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ADMIN: ("muster:admin", ("system:masters",)),
    Component.CONTROLLER_MANAGER: ("system:kube-controller-manager", ()),
    Component.SCHEDULER: ("system:kube-scheduler", ()),
    # It stands for the kubelets of its nodes, whose reports on pods no admission policy has to judge.
    Component.KWOK: ("muster:kwok", ("system:nodes",)),
}


def token_file(layout: StateLayout) -> Path:
    """The API server's list of static tokens."""
    return layout.tokens / "static.csv"


def ensure_static_tokens(layout: StateLayout, server: str) -> None:
    """Makes the tokens of the operator and of Kubernetes' own clients once, and their kubeconfigs every time."""
    lines = []
    for name, (user, groups) in _STATIC_USERS.items():
        token = _ensure_token(layout.tokens / name)
        lines.append(f'{token},{user},{user},"{",".join(groups)}"')
        write_kubeconfig(layout, name, server)
    write_private(token_file(layout), "\n".join(lines) + "\n")


def _ensure_token(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def write_certificate_kubeconfig(layout: StateLayout, name: str, certificate: str, server: str) -> Path:
    """A kubeconfig that shows a client certificate; self-contained as the others."""
    user = {
        "client-certificate-data": _encoded(layout.certificate(certificate)),
        "client-key-data": _encoded(layout.private_key(certificate)),
    }
    return _write_kubeconfig(layout, name, server, user)


def write_kubeconfig(layout: StateLayout, name: str, server: str) -> Path:
    """A self-contained kubeconfig; the token is inside, so that a copy of the file works elsewhere."""
    return _write_kubeconfig(layout, name, server, {"token": (layout.tokens / name).read_text()})


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write_kubeconfig(layout: StateLayout, name: str, server: str, user: dict[str, str]) -> Path:
    authority = _encoded(layout.certificate(AUTHORITY))
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "muster", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": str(name), "user": user}],
        "contexts": [{"name": "muster", "context": {"cluster": "muster", "user": str(name)}}],
        "current-context": "muster",
    }
    path = layout.kubeconfig(name)
    write_private(path, yaml.safe_dump(document, sort_keys=False))
    return path
