"""The keys of one instance: an authority of its own, certificates for loopback, the token signing key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from muster_kube.certificates import (
    KeyPair,
    make_authority,
    make_client_certificate,
    make_server_certificate,
)
from muster_local.layout import StateLayout
from muster_local.secure_files import write_private

AUTHORITY = "ca"
SERVICE_ACCOUNT = "service-account"
ETCD_CLIENT = "etcd-client"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
CLIENTS = (ETCD_CLIENT, KUBELET_CLIENT)
SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

# Nobody rotates these: the whole instance is made anew long before.
_LIFETIME = timedelta(days=3650)
# The address of the Service "kubernetes" is the first one of the Service range.
_NAMES = ("localhost", "127.0.0.1", "10.0.0.1", "kubernetes.default.svc")


def ensure_pki(layout: StateLayout) -> None:
    """Makes every key and certificate that is missing; what exists stays, so that restarts keep their trust."""
    now = datetime.now(UTC)
    if not _exists(layout, AUTHORITY):
        _write(layout, AUTHORITY, make_authority("muster-local", now, _LIFETIME))
    authority = _read(layout, AUTHORITY)
    for name in SERVERS:
        if not _exists(layout, name):
            _write(layout, name, make_server_certificate(authority, _NAMES, now, _LIFETIME))
    for name in CLIENTS:
        if not _exists(layout, name):
            _write(layout, name, make_client_certificate(authority, name, now, _LIFETIME))
    _ensure_signing_key(layout)


def ensure_node_certificates(layout: StateLayout, node: str) -> None:
    """A process node's two certificates: who it is to the API server, and its own kubelet API's."""
    now = datetime.now(UTC)
    authority = _read(layout, AUTHORITY)
    client = node_client(node)
    if not _exists(layout, client):
        pair = make_client_certificate(
            authority, f"system:node:{node}", now, _LIFETIME, organizations=("system:nodes",)
        )
        _write(layout, client, pair)
    if not _exists(layout, node):
        _write(layout, node, make_server_certificate(authority, (node, "127.0.0.1"), now, _LIFETIME))


def node_client(node: str) -> str:
    """The name under which a node's client certificate is kept."""
    return f"{node}-client"


def _exists(layout: StateLayout, name: str) -> bool:
    return layout.certificate(name).exists() and layout.private_key(name).exists()


def _read(layout: StateLayout, name: str) -> KeyPair:
    return KeyPair(layout.certificate(name).read_bytes(), layout.private_key(name).read_bytes())


def _write(layout: StateLayout, name: str, pair: KeyPair) -> None:
    write_private(layout.private_key(name), pair.key)
    write_private(layout.certificate(name), pair.certificate)


def _ensure_signing_key(layout: StateLayout) -> None:
    key_file, public_file = layout.private_key(SERVICE_ACCOUNT), layout.public_key(SERVICE_ACCOUNT)
    if key_file.exists() and public_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(key_file, private)
    write_private(public_file, public)
