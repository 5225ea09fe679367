"""The Authorization header: one, of the scheme Bearer, with a token of bounded size."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from muster_queue.identity.errors import Unauthenticated

LARGEST_TOKEN: Final = 8 << 10
_SCHEME: Final = b"bearer"
T = TypeVar("T")


class TokenHead(msgspec.Struct, frozen=True):
    """The header of a JWT, of which nothing is believed: it only says what to verify with."""

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class UnverifiedClaims(msgspec.Struct, frozen=True):
    """What has to be read of a JWT before it is verified: to whom to give it, and how long to remember the answer."""

    iss: str = ""
    exp: float | None = None


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token of a request; raises Unauthenticated where there is none, or more than one."""
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        raise Unauthenticated("send `Authorization: Bearer <token>`")
    if len(found) > 1:
        raise Unauthenticated("send one Authorization header")
    scheme, _, token = found[0].partition(b" ")
    token = token.strip()
    if scheme.lower() != _SCHEME or not token or b" " in token:
        raise Unauthenticated("send `Authorization: Bearer <token>`")
    if len(token) > LARGEST_TOKEN:
        raise Unauthenticated(f"the token is too large; at most {LARGEST_TOKEN} bytes are read")
    if not token.isascii():
        raise Unauthenticated("the token has characters that no token has")
    return token.decode()


def token_digest(token: str) -> bytes:
    """Under what a token is remembered: the token itself is kept nowhere."""
    return digest_of(token.encode())


def digest_of(token: bytes) -> bytes:
    return sha256(token).digest()


def token_head(token: str) -> TokenHead:
    """Reads the header of a JWT; raises Unauthenticated where it is none."""
    return _segment(token, 0, TokenHead)


def unverified_claims(token: str) -> UnverifiedClaims:
    """Reads the claims of a JWT without believing them; empty for an opaque token."""
    try:
        return _segment(token, 1, UnverifiedClaims)
    except Unauthenticated:
        return UnverifiedClaims()


def _segment(token: str, index: int, kind: type[T]) -> T:
    parts = token.split(".")
    if len(parts) != 3:
        raise Unauthenticated("the token is no signed JWT")
    text = parts[index]
    try:
        return msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (ValueError, binascii.Error, RecursionError):
        raise Unauthenticated("the token is no JWT that can be read") from None
