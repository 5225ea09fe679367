"""Reaching Redis: one server, a set watched by sentinels, or a cluster, with the same calls afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

Client = Redis | RedisCluster

# A pooled connection may be one that the server has closed: a single further try takes another.
_FURTHER_TRIES = 1


class RedisMode(StrEnum):
    """Who is behind the address."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class IndexSettings(BaseSettings):
    """Environment variables with the prefix MUSTER_REDIS_; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="MUSTER_REDIS_", frozen=True, hide_input_in_errors=True)

    url: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """redis://, rediss:// (TLS) or unix://, user and password included. Of a cluster: any node. With sentinels: user,
    password and database are taken from it, the address is not."""
    mode: RedisMode = RedisMode.SINGLE
    sentinels: tuple[tuple[str, int], ...] = Field(default=(), validate_default=True)
    """As JSON: [["host", 26379], ...]"""
    service: str = "muster"
    """What the sentinels call the set of servers."""
    sentinel_password: SecretStr | None = None
    call_timeout: float = Field(default=1.0, gt=0)
    """How long a call may take before the index counts as away."""
    connections: int = Field(default=32, ge=1)
    """At most so many at once (of a cluster: to each node); further calls wait for one."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: SecretStr) -> SecretStr:
        """The client's own complaint may quote a part of the password."""
        if not value.get_secret_value():
            raise ValueError("is missing; write redis://user:password@host:6379")
        try:
            parse_url(value.get_secret_value())
        except ValueError:
            raise ValueError("write redis://user:password@host:6379, or rediss://, or unix:///path") from None
        return value

    @field_validator("sentinels")
    @classmethod
    def _are_there_if_asked(
        cls, value: tuple[tuple[str, int], ...], info: ValidationInfo
    ) -> tuple[tuple[str, int], ...]:
        if not value and info.data.get("mode") is RedisMode.SENTINEL:
            raise ValueError('name at least one, as [["host", 26379]]')
        return value


@dataclass(frozen=True)
class Connected:
    """A client, and what it asks where the server is."""

    client: Client
    sentinels: tuple[Redis, ...] = ()

    async def close(self) -> None:
        """Gives all connections back."""
        for client in (self.client, *self.sentinels):
            await client.aclose()


def connect(settings: IndexSettings) -> Connected:
    """A client that connects at its first call and again whenever it has to."""
    url = settings.url.get_secret_value()
    if settings.mode is RedisMode.CLUSTER:
        options = _options(settings) | {"max_connections": settings.connections}
        return Connected(RedisCluster.from_url(url, **options))
    if settings.mode is RedisMode.SENTINEL:
        return _behind_sentinels(settings, url)
    pool = BlockingConnectionPool.from_url(
        url, max_connections=settings.connections, timeout=settings.call_timeout, **_options(settings)
    )
    return Connected(Redis.from_pool(pool))


def _behind_sentinels(settings: IndexSettings, url: str) -> Connected:
    given = BlockingConnectionPool.from_url(url).connection_kwargs
    own = {name: given[name] for name in ("username", "password", "db") if name in given}
    password = settings.sentinel_password.get_secret_value() if settings.sentinel_password else None
    make: Callable[..., Sentinel] = Sentinel
    sentinel = make(settings.sentinels, sentinel_kwargs={"password": password, "socket_timeout": settings.call_timeout})
    master: Client = sentinel.master_for(
        settings.service, max_connections=settings.connections, **own, **_options(settings)
    )
    return Connected(master, tuple(sentinel.sentinels))


def _options(settings: IndexSettings) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "socket_timeout": settings.call_timeout,
        "socket_connect_timeout": settings.call_timeout,
        "retry": Retry(NoBackoff(), _FURTHER_TRIES),
    }
