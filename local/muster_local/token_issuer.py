"""Tokens for the users of a local api: an issuer of its own, whose key never leaves the state folder."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from joserfc import jwt
from joserfc.jwk import OKPKey

from muster_local.api_client import ApiClient
from muster_local.errors import LocalError
from muster_local.layout import StateLayout
from muster_local.secure_files import write_private

ISSUER = "muster-local"
AUDIENCE = "muster"
USER_PREFIX = "local:"
DEFAULT_LIFETIME = timedelta(hours=8)

_KEY = "token-issuer"
# RFC 9864's name for EdDSA with this curve.
_ALGORITHM = "Ed25519"
_RBAC = "rbac.authorization.k8s.io"
_CLUSTER_VIEW = "muster-cluster-view"
_LONGEST_NAME = 200


class Role(StrEnum):
    """What a user may: Kubernetes' own roles, which Muster's are part of."""

    VIEW = "view"
    EDIT = "edit"
    ADMIN = "admin"
    CLUSTER_ADMIN = "cluster-admin"


@dataclass(frozen=True)
class User:
    """Somebody who asks the local api, and where."""

    name: str
    namespace: str
    role: Role = Role.EDIT

    def __post_init__(self) -> None:
        if not self.name.isprintable() or not 0 < len(self.name) <= _LONGEST_NAME:
            raise LocalError(f"{self.name[:40]!r} is no user name; write 1 to {_LONGEST_NAME} printable characters")

    @property
    def kubernetes_name(self) -> str:
        """Who it is to RBAC: no token of ours can name one of Kubernetes' own users."""
        return f"{USER_PREFIX}{self.name}"


def ensure_issuer(layout: StateLayout) -> None:
    """Makes the key once, and the document that the api reads its public half from."""
    path = layout.private_key(_KEY)
    if not path.exists():
        key = OKPKey.generate_key("Ed25519", {"kid": secrets.token_hex(8)})
        write_private(path, json.dumps(key.as_dict(private=True)))
    public = {**_key(layout).as_dict(private=False), "use": "sig", "alg": _ALGORITHM}
    write_private(layout.config / "token-issuer.jwks.json", json.dumps({"keys": [public]}))


def issuer_settings(layout: StateLayout) -> dict[str, str]:
    """The environment that makes an api believe these tokens."""
    issuer = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "keys": str(layout.config / "token-issuer.jwks.json"),
        "algorithms": ["EdDSA"],
        "username_prefix": USER_PREFIX,
        "groups_prefix": USER_PREFIX,
    }
    return {"MUSTER_TOKEN_ISSUERS": json.dumps([issuer])}


def make_token(layout: StateLayout, user: User, now: datetime, lifetime: timedelta = DEFAULT_LIFETIME) -> str:
    """A signed token; it ends by itself, and there is no list of those that were made."""
    key = _key(layout)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user.name,
        "namespace": user.namespace,
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "jti": secrets.token_hex(16),
    }
    return jwt.encode({"alg": _ALGORITHM, "kid": key.kid}, claims, key, [_ALGORITHM])


def _key(layout: StateLayout) -> OKPKey:
    return OKPKey.import_key(json.loads(layout.private_key(_KEY).read_text()))


def grant(client: ApiClient, user: User) -> None:
    """Binds the user to the role in the namespace, and lets them see which compute clusters there are."""
    for document in bindings(user):
        client.apply(document)


def granted(user: User) -> str:
    """What the user may from now on, with kubectl as with the api; taking it back is up to the administrator."""
    if user.role is Role.CLUSTER_ADMIN:
        return f"user {user.kubernetes_name} has the ClusterRole {user.role} in all namespaces"
    return (
        f"user {user.kubernetes_name} has the ClusterRole {user.role} in namespace {user.namespace}"
        f" and {_CLUSTER_VIEW} everywhere (RoleBinding, ClusterRoleBinding)"
    )


def bindings(user: User) -> list[dict[str, Any]]:
    """The RBAC objects that give the user the role: the same that an administrator would write for kubectl."""
    name = f"muster-local-{sha256(user.kubernetes_name.encode()).hexdigest()[:16]}"
    everywhere = _binding("ClusterRoleBinding", f"{name}-clusters", user, _CLUSTER_VIEW)
    if user.role is Role.CLUSTER_ADMIN:
        return [_binding("ClusterRoleBinding", f"{name}-{user.role}", user, user.role)]
    return [_binding("RoleBinding", f"{name}-{user.role}", user, user.role), everywhere]


def _binding(kind: str, name: str, user: User, role: str) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": user.namespace} if kind == "RoleBinding" else {})
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": str(role)},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user.kubernetes_name}],
    }
