"""Somebody whose token was believed, in the words of Kubernetes."""

from __future__ import annotations

from typing import Final

import msgspec

SYSTEM_PREFIX: Final = "system:"
AUTHENTICATED_GROUP: Final = "system:authenticated"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"
FALLBACK_NAMESPACE: Final = "default"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What RBAC is asked about, and what the audit log names."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    namespace: str = FALLBACK_NAMESPACE
    """Where their jobs go when they name no namespace."""
    expires: float = 0.0
    """When the token ends, in seconds since the epoch: nothing that was begun with it outlives it."""
    token_id: str = ""
    """The token's own id, for logs and for revocation; never the token."""


def account_namespace(name: str) -> str:
    """The namespace of a ServiceAccount's user name; that of nobody in particular for any other user."""
    parts = name.removeprefix(_ACCOUNT_PREFIX).split(":")
    return parts[0] if name.startswith(_ACCOUNT_PREFIX) and len(parts) == 2 and parts[0] else FALLBACK_NAMESPACE
