"""Writes to the API server, each once: what an unknown outcome or a conflict means is the caller's to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from muster_kube.resources import PODS
from muster_kube.session import JSON, ApiSession

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

T = TypeVar("T")
Body = Any
"""bytes are sent as they are, anything else is encoded by msgspec."""


class Writer:
    """Every verb that changes something, with a bound on how many are under way at once.

    The bound keeps a burst of patches inside the share that API priority and fairness gives to one client.
    All verbs return the answer's body and raise ApiError, AmbiguousWrite among them.
    """

    def __init__(self, session: ApiSession, *, concurrency: int = 48, field_manager: str = "muster") -> None:
        self._session = session
        self._slots = asyncio.Semaphore(concurrency)
        self._field_manager = field_manager

    async def get(self, path: str, type_: type[T], *, timeout: float | None = None) -> T:
        """A quorum read: sees every write acknowledged before it, unlike a reflector's store."""
        return msgspec.json.decode(await self._session.get(path, timeout=timeout), type=type_)

    async def patch_merge(self, path: str, body: Body, *, timeout: float | None = None) -> bytes:
        """JSON merge patch; `metadata.resourceVersion` or `metadata.uid` in it are preconditions."""
        return await self._write("PATCH", path, body, MERGE_PATCH, timeout)

    async def patch_strategic(self, path: str, body: Body, *, timeout: float | None = None) -> bytes:
        """Strategic merge patch, for built-in kinds only; `metadata.uid` in it is a precondition."""
        return await self._write("PATCH", path, body, STRATEGIC_PATCH, timeout)

    async def patch_json(self, path: str, operations: Body, *, timeout: float | None = None) -> bytes:
        """JSON patch; a `test` operation is a precondition and fails as Invalid."""
        return await self._write("PATCH", path, operations, JSON_PATCH, timeout)

    async def apply(self, path: str, body: Body, *, force: bool = True, timeout: float | None = None) -> bytes:
        """Server-side apply, creating what is not there."""
        params = {"force": "true" if force else "false"}
        return await self._write("PATCH", path, body, APPLY_PATCH, timeout, params)

    async def create(self, collection: str, body: Body, *, timeout: float | None = None) -> bytes:
        """Raises AlreadyExists where the name is taken."""
        return await self._write("POST", collection, body, JSON, timeout)

    async def replace(self, path: str, body: Body, *, timeout: float | None = None) -> bytes:
        """Compare-and-swap when the body carries a resourceVersion."""
        return await self._write("PUT", path, body, JSON, timeout)

    async def replace_status(self, path: str, body: Body, *, timeout: float | None = None) -> bytes:
        """Like replace, of the status subresource; `path` is the object's own."""
        return await self._write("PUT", f"{path}/status", body, JSON, timeout)

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace: int | None = None,
        propagation: str | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Deletes this very object: another one under the same name is a Conflict."""
        options = _delete_options(uid, resource_version, grace, propagation)
        return await self._write("DELETE", path, options, JSON, timeout)

    async def evict_pod(
        self, namespace: str, name: str, uid: str, *, grace: int | None = None, timeout: float | None = None
    ) -> bytes:
        """Asks to evict; a disruption budget that forbids it for now is TooManyRequests."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": _delete_options(uid, None, grace, None),
        }
        return await self._write("POST", PODS.object_path(namespace, name, "eviction"), eviction, JSON, timeout)

    async def bind_pod(
        self,
        namespace: str,
        name: str,
        uid: str,
        node: str,
        annotations: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """Binds the pod with this uid; one that is bound already, or another of that name, is a Conflict."""
        metadata: dict[str, Any] = {"namespace": namespace, "name": name, "uid": uid}
        if annotations:
            metadata["annotations"] = dict(annotations)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        return await self._write("POST", PODS.object_path(namespace, name, "binding"), binding, JSON, timeout)

    async def _write(
        self,
        method: str,
        path: str,
        body: Body,
        content_type: str,
        timeout: float | None,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        query = dict(params or {})
        if method != "DELETE":
            query["fieldManager"] = self._field_manager
        async with self._slots:
            answer = await self._session.request(
                method,
                path,
                body=body if isinstance(body, bytes) else msgspec.json.encode(body),
                content_type=content_type,
                params=query,
                timeout=timeout,
            )
        return answer.body


def _delete_options(
    uid: str | None, resource_version: str | None, grace: int | None, propagation: str | None
) -> dict[str, Any]:
    conditions = {"uid": uid, "resourceVersion": resource_version}
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {key: value for key, value in conditions.items() if value} or None,
        "gracePeriodSeconds": grace,
        "propagationPolicy": propagation,
    }
    return {key: value for key, value in options.items() if value is not None}
