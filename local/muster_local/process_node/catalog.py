"""Reads what pods refer to: ConfigMaps, Secrets and tokens of their ServiceAccounts, each asked for when needed.

A node may read exactly what the pods bound to it name, so nothing is watched here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from muster_kube.errors import Forbidden, NotFound
from muster_kube.resources import SECRETS, ResourcePath
from muster_kube.writer import Writer
from muster_local.process_node.environment import ConfigurationError, Data
from muster_local.process_node.objects import ConfigMap, Pod, Secret, TokenSource

CONFIG_MAPS: Final = ResourcePath("", "v1", "configmaps")
SERVICE_ACCOUNTS: Final = ResourcePath("", "v1", "serviceaccounts")

T = TypeVar("T")

_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


class TokenStatus(msgspec.Struct, frozen=True, rename="camel"):
    token: str
    expiration_timestamp: datetime


class TokenAnswer(msgspec.Struct, frozen=True):
    status: TokenStatus


@dataclass(frozen=True, slots=True)
class Token:
    """A ServiceAccount token, and when to ask for the next one: at four fifths of its life."""

    data: bytes
    renew_at: datetime


class Catalog:
    """Asks the API server as the node that it is."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def config_maps(self, namespace: str, names: Iterable[str]) -> Data:
        return {name: await self._config_map(namespace, name) for name in sorted(names)}

    async def secrets(self, namespace: str, names: Iterable[str]) -> Data:
        return {name: await self._secret(namespace, name) for name in sorted(names)}

    async def _config_map(self, namespace: str, name: str) -> dict[str, bytes] | None:
        found = await self._get(CONFIG_MAPS, namespace, name, ConfigMap)
        if found is None:
            return None
        text = {key: value.encode() for key, value in found.data.items()}
        return text | {key: _decoded(value) for key, value in found.binary_data.items()}

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        found = await self._get(SECRETS, namespace, name, Secret)
        return None if found is None else {key: _decoded(value) for key, value in found.data.items()}

    async def _get(self, resource: ResourcePath, namespace: str, name: str, type_: type[Any]) -> Any:
        path = resource.object_path(namespace, name)
        try:
            return await _once_allowed(lambda: self._writer.get(path, type_))
        except NotFound:
            return None
        except Forbidden as error:
            raise ConfigurationError(f"may not read {resource.plural} {name!r}: {error.message}") from error

    async def token(self, pod: Pod, source: TokenSource, now: datetime) -> Token:
        """A token that is worth nothing once the pod is gone."""
        path = SERVICE_ACCOUNTS.object_path(pod.metadata.namespace, pod.spec.service_account_name, "token")
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.uid}
        spec: dict[str, Any] = {"expirationSeconds": source.expiration_seconds, "boundObjectRef": reference}
        if source.audience:
            spec["audiences"] = [source.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            created = await _once_allowed(lambda: self._writer.create(path, body))
        except (Forbidden, NotFound) as error:
            raise ConfigurationError(f"no token for {pod.spec.service_account_name}: {error.message}") from error
        answer = msgspec.json.decode(created, type=TokenAnswer)
        life = answer.status.expiration_timestamp - now
        return Token(answer.status.token.encode(), now + life * 0.8)


async def _once_allowed(request: Callable[[], Awaitable[T]]) -> T:
    """Asks again for a while: the authorizer learns of a pod's references a moment after the pod is bound."""
    for pause in _PAUSES:
        try:
            return await request()
        except Forbidden:
            await asyncio.sleep(pause)
    return await request()


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error as error:
        raise ConfigurationError(f"a value is not base64: {error}") from error
