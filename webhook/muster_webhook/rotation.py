"""When and how the webhook's certificate is replaced without a moment in which API servers do not trust it.

Each certificate has an authority of its own, whose key is thrown away at once: what is not kept cannot be stolen.
A successor is first only announced, so that its authority gets into every caBundle; after a while it takes over, and
the old authority stays trusted until it expires, for replicas that have not noticed yet.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from muster_kube.certificates import (
    KeyPair,
    bundle,
    is_issued_by,
    make_authority,
    make_server_certificate,
    needs_rotation,
)

AUTHORITY_NAME: Final = "muster-webhook"


@dataclass(frozen=True, slots=True)
class Identity:
    """A server certificate with its key, and the authority that signed it."""

    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = b""

    @property
    def is_complete(self) -> bool:
        return bool(self.key) and is_issued_by(self.certificate, self.authority)


@dataclass(frozen=True, slots=True)
class Material:
    """All that the Secret holds."""

    current: Identity = Identity()
    following: Identity = Identity()
    announced: str = ""
    """When the following identity was made known, as ISO time."""
    previous_authority: bytes = b""

    def trusted(self, now: datetime) -> bytes:
        """What belongs into caBundle."""
        return bundle((self.current.authority, self.following.authority, self.previous_authority), now)


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """For whom certificates are made, and how long things last."""

    names: tuple[str, ...]
    lifetime: timedelta
    overlap: timedelta
    """How long a new authority is trusted before its certificate is used."""


class Step(StrEnum):
    """What has to be done with the material."""

    KEEP = "keep"
    ISSUE = "issue"
    ANNOUNCE = "announce"
    SWITCH = "switch"


def next_step(material: Material, policy: RotationPolicy, now: datetime) -> Step:
    """Issue what is missing or unusable, announce a successor in good time, switch once it is known everywhere."""
    current, following = material.current, material.following
    if not current.is_complete or needs_rotation(current.certificate, now, remaining=0):
        return Step.ISSUE
    if not needs_rotation(current.certificate, now, policy.names):
        return Step.KEEP
    if not following.is_complete or needs_rotation(following.certificate, now, policy.names):
        return Step.ANNOUNCE
    return Step.SWITCH if _announced_long_enough(material.announced, policy, now) else Step.KEEP


def take(step: Step, material: Material, policy: RotationPolicy, now: datetime) -> Material:
    """The material after this step."""
    match step:
        case Step.ISSUE:
            return Material(_make_identity(policy, now), previous_authority=material.current.authority)
        case Step.ANNOUNCE:
            return replace(material, following=_make_identity(policy, now), announced=now.isoformat())
        case Step.SWITCH:
            return Material(material.following, previous_authority=material.current.authority)
        case Step.KEEP:
            return material


def _make_identity(policy: RotationPolicy, now: datetime) -> Identity:
    # The authority outlives its one certificate, so that it can still be trusted while the last replica serves that.
    authority = make_authority(AUTHORITY_NAME, now, policy.lifetime * 2)
    leaf: KeyPair = make_server_certificate(authority, policy.names, now, policy.lifetime)
    return Identity(authority.certificate, leaf.certificate, leaf.key)


def _announced_long_enough(announced: str, policy: RotationPolicy, now: datetime) -> bool:
    try:
        return now >= datetime.fromisoformat(announced) + policy.overlap
    except (ValueError, TypeError):
        return True


def read_material(data: Mapping[str, str]) -> Material:
    """From a Secret's data; what is no base64 counts as absent."""
    fields = {name: _decoded(data.get(name, "")) for name in _SECRET_KEYS}
    return Material(
        Identity(fields["ca.crt"], fields["tls.crt"], fields["tls.key"]),
        Identity(fields["next-ca.crt"], fields["next-tls.crt"], fields["next-tls.key"]),
        fields["announced"].decode(errors="replace"),
        fields["ca-previous"],
    )


def written_material(material: Material) -> dict[str, str]:
    """As a Secret's data, empty parts left out."""
    current, following = material.current, material.following
    values = (
        current.authority,
        current.certificate,
        current.key,
        material.previous_authority,
        following.authority,
        following.certificate,
        following.key,
        material.announced.encode(),
    )
    return {name: b64encode(value).decode() for name, value in zip(_SECRET_KEYS, values, strict=True) if value}


_SECRET_KEYS: Final = (
    "ca.crt",
    "tls.crt",
    "tls.key",
    "ca-previous",
    "next-ca.crt",
    "next-tls.crt",
    "next-tls.key",
    "announced",
)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return b""
