"""Which issuers are believed, and how; read from the environment with the rest of the api's settings."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

AUDIENCE: Final = "muster"
LONGEST_LEEWAY: Final = 60


class Algorithm(StrEnum):
    """The signatures that are accepted at all; each goes with one type of key."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


class IssuerSettings(BaseModel):
    """One issuer of JWTs. Everything that decides whether a token holds is said here and never by the token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1, description="Exactly the tokens' `iss`.")
    audience: str = Field(default=AUDIENCE, min_length=1, description="One of the tokens' `aud`.")
    keys: str = Field(description="Where its JWKS is: an https URL, an http URL on loopback, or a file.")
    keys_authority: Path | None = Field(default=None, description="CA certificates for that URL, else the system's.")
    algorithms: tuple[Algorithm, ...] = Field(default=tuple(Algorithm), min_length=1)
    username_claim: str = Field(default="sub", min_length=1)
    username_prefix: str = Field(description="Put before every user name, so that no two issuers speak of one user.")
    groups_claim: str = "groups"
    groups_prefix: str = Field(description="Put before every group.")
    namespace_claim: str = Field(default="namespace", description="Where a user's jobs go when they name no namespace.")
    leeway_seconds: Annotated[int, Field(ge=0, le=LONGEST_LEEWAY)] = 30

    @field_validator("keys")
    @classmethod
    def _reachable_safely(cls, value: str) -> str:
        if not value.startswith("/") and not is_safe_address(value):
            raise ValueError("write an https URL, an http URL on loopback, or the absolute path of a file")
        return value

    @field_validator("username_prefix", "groups_prefix")
    @classmethod
    def _not_of_kubernetes(cls, value: str) -> str:
        if value.startswith("system:"):
            raise ValueError("names that begin with 'system:' are Kubernetes' own")
        return value


class IdentitySettings(BaseSettings):
    """Environment variables with the prefix MUSTER_. TokenReview is always there; issuers come on top of it."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_", frozen=True, env_ignore_empty=True)

    token_audience: str = Field(default=AUDIENCE, min_length=1)
    """What a ServiceAccount token has to be made for: `kubectl create token NAME --audience muster`."""
    token_issuers: tuple[IssuerSettings, ...] = ()
    """JSON, a list of objects with the fields of IssuerSettings."""


def is_safe_address(url: str) -> bool:
    """Whether what comes from there can be believed: over TLS, or from this machine itself."""
    parts = urlsplit(url)
    if parts.username or parts.password or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
