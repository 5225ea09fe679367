"""Reads the API server's own watches without losing an event, or says that it lost some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from judge.kubeconfig import Connection
from judge.records import Gap, History, gang_record, namespace_record, node_record, pod_record

RETRY_SECONDS = 0.2
READ_SECONDS = 100.0
PAGE = 500


@dataclass(frozen=True)
class Resource:
    path: str
    record: Callable[[str, float, dict[str, Any]], History]


RESOURCES = (
    Resource("/api/v1/namespaces", namespace_record),
    Resource("/api/v1/nodes", node_record),
    Resource("/apis/aiplatform.example.com/v1alpha1/gangs", gang_record),
    Resource("/api/v1/pods", pod_record),
)


class GoneError(Exception):
    """The API server no longer has the events after our last version."""


class Watcher:
    """Follows one resource for as long as it is let, and puts what it sees into one shared history."""

    def __init__(
        self, session: aiohttp.ClientSession, connection: Connection, resource: Resource, out: list[History]
    ) -> None:
        self._session, self._connection, self._resource, self._out = session, connection, resource, out
        self._version = ""
        self._known: dict[str, dict[str, Any]] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                if not self._version:
                    await self._list()
                    self.synced.set()
                await self._watch()
            except GoneError:
                self._version = ""
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> None:
        items: dict[str, dict[str, Any]] = {}
        query = {"limit": str(PAGE)}
        while True:
            page = await self._get_page(query)
            items |= {item["metadata"]["uid"]: item for item in page.get("items") or []}
            token = page["metadata"].get("continue")
            if not token:
                break
            query["continue"] = token
        version = page["metadata"]["resourceVersion"]
        if self.synced.is_set():
            self._note_gap(items)
        for uid in self._known.keys() - items.keys():
            gone = self._known[uid]
            gone["metadata"]["resourceVersion"] = version
            self._keep("DELETED", gone)
        for item in items.values():
            self._keep("LISTED", item)
        self._version = version

    def _note_gap(self, items: dict[str, dict[str, Any]]) -> None:
        """A restarted API server has an empty memory: unless the same objects lie there, events were lost."""
        changed = _versions(items) != _versions(self._known)
        path = self._resource.path
        self._out.append(Gap(event="GAP", version=0, seconds=time.monotonic(), resource=path, changed=changed))

    async def _get_page(self, query: dict[str, str]) -> dict[str, Any]:
        async with self._session.get(self._url(), params=query, ssl=self._tls()) as response:
            if response.status == 410:
                raise GoneError
            response.raise_for_status()
            page: dict[str, Any] = msgspec.json.decode(await response.read())
            return page

    async def _watch(self) -> None:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": "290",
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=READ_SECONDS)
        async with self._session.get(self._url(), params=query, ssl=self._tls(), timeout=timeout) as response:
            if response.status == 410:
                raise GoneError
            response.raise_for_status()
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for event in _decoded(lines):
                    self._take(event["type"], event["object"])

    def _take(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "ERROR":
            if item.get("code") == 410:
                raise GoneError
            raise ConnectionError(str(item))
        if kind != "BOOKMARK":
            self._keep(kind, item)
        self._version = item["metadata"]["resourceVersion"]

    def _keep(self, kind: str, item: dict[str, Any]) -> None:
        uid = item["metadata"]["uid"]
        if kind == "DELETED":
            self._known.pop(uid, None)
        else:
            self._known[uid] = {"metadata": item["metadata"], "spec": item.get("spec") or {}}
        self._out.append(self._resource.record(kind, time.monotonic(), item))

    def _url(self) -> str:
        return self._connection.server + self._resource.path

    def _tls(self) -> Any:
        return self._connection.context or False


def _versions(items: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {uid: item["metadata"]["resourceVersion"] for uid, item in items.items()}


def _decoded(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line:
            yield msgspec.json.decode(line)
