"""The few parts of a kubeconfig that the judge needs: server, certificate authority, and who it is."""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Connection:
    server: str
    headers: dict[str, str]
    context: ssl.SSLContext | None


def load_connection(path: Path) -> Connection:
    """Read the current context of a kubeconfig."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    token = user.get("token") or _read(path, user.get("tokenFile"))
    headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
    server = cluster["server"].rstrip("/")
    return Connection(server, headers, _context(path, cluster, user) if server.startswith("https") else None)


def _context(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _material(path, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _material(path, user, "client-certificate"), _material(path, user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(path: Path, section: dict[str, Any], name: str) -> bytes | None:
    if encoded := section.get(f"{name}-data"):
        return base64.b64decode(encoded)
    text = _read(path, section.get(name))
    return text.encode() if text else None


def _read(path: Path, name: str | None) -> str | None:
    return (path.parent / name).read_text() if name else None


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
