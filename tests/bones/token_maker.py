"""An issuer of JWTs for tests: signs whatever it is told to, right or wrong."""

from __future__ import annotations

import json
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from muster_queue.identity.settings import AUDIENCE, Algorithm, IssuerSettings

ISSUER = "https://issuer.example.com"
NOW = 1_800_000_000.0
_KINDS: dict[str, Callable[[str], Key]] = {
    "RS256": lambda kid: RSAKey.generate_key(2048, {"kid": kid}),
    "ES256": lambda kid: ECKey.generate_key("P-256", {"kid": kid}),
    "EdDSA": lambda kid: OKPKey.generate_key("Ed25519", {"kid": kid}),
}


class TokenMaker:
    """One key for each algorithm, and the document that publishes them."""

    def __init__(self, *algorithms: str, kid: str = "key") -> None:
        self.keys: dict[str, Key] = {name: _KINDS[name](f"{kid}-{name}") for name in algorithms or ("EdDSA",)}

    def document(self) -> bytes:
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys.values()]}).encode()

    def token(
        self, algorithm: str = "EdDSA", header: dict[str, Any] | None = None, now: float = NOW, **claims: Any
    ) -> str:
        key = self.keys[algorithm]
        head = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
        return signed(head, {**self.claims(now), **claims}, key)

    @staticmethod
    def claims(now: float = NOW) -> dict[str, Any]:
        return {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "nbf": now - 1, "iat": now - 1}


def signed(header: dict[str, Any], claims: dict[str, Any], key: Key) -> str:
    """A compact JWS of exactly this header and these claims; None among the claims leaves one out."""
    payload = json.dumps({name: value for name, value in claims.items() if value is not None}).encode()
    known = {name: value for name, value in header.items() if name in ("alg", "kid", "typ")}
    if known == header:
        return sign_compact(header, payload, key)
    return _by_hand(header, payload, key)


def sign_compact(header: dict[str, Any], payload: bytes, key: Key) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])


def _by_hand(header: dict[str, Any], payload: bytes, key: Key) -> str:
    """With headers that no library would sign."""
    signing = f"{encoded(json.dumps(header).encode())}.{encoded(payload)}"
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{signing}.{encoded(algorithm.sign(signing.encode(), key))}"


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def issuer_settings(keys: str, **changes: Any) -> IssuerSettings:
    fields: dict[str, Any] = {"issuer": ISSUER, "keys": keys, "username_prefix": "oidc:", "groups_prefix": "oidc:"}
    return IssuerSettings(**{**fields, "algorithms": tuple(Algorithm), **changes})
