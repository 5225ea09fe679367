"""A small blocking client of the API server, for start-up, tests and tools; services have their own."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import yaml

from muster_local.errors import ApiError, ApiUnreachableError

FIELD_MANAGER = "muster-local"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_TIMEOUT_SECONDS = 30.0
_PARALLEL_REQUESTS = 16
# How a connection ends that the server has closed while it was idle: over TLS as an EOF where more was expected.
_CONNECTION_LOST = (http.client.HTTPException, ConnectionError, ssl.SSLEOFError)

Item = TypeVar("Item")
Result = TypeVar("Result")


class ApiClient:
    """Requests with one kubeconfig's token; safe to use from several threads, their connections are pooled."""

    def __init__(self, server: str, authority: str, token: str) -> None:
        address = urlsplit(server)
        self._host, self._port = address.hostname or "", address.port or 443
        self._context = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._idle: deque[http.client.HTTPSConnection] = deque()
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path) -> ApiClient:
        document = yaml.safe_load(path.read_text())
        cluster = document["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cls(cluster["server"], authority, document["users"][0]["user"]["token"])

    def close(self) -> None:
        """Closes the idle connections; the client stays usable."""
        while self._idle:
            self._idle.pop().close()

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def create(self, path: str, document: dict[str, Any], *, exist_ok: bool = False) -> Any:
        """Creates an object; an existing one may be what the caller wanted."""
        try:
            return self.request("POST", path, document)
        except ApiError as error:
            if exist_ok and error.status == http.client.CONFLICT:
                return None
            raise

    def patch(self, path: str, document: Any, content_type: str = MERGE_PATCH) -> Any:
        return self.request("PATCH", path, document, content_type)

    def delete(self, path: str) -> Any:
        """Deletes an object; one that is gone already is as good."""
        try:
            return self.request("DELETE", path)
        except ApiError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def apply(self, document: dict[str, Any]) -> Any:
        """Server-side apply of one object, whatever its kind."""
        path = self.object_path(document)
        return self.request("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", document, APPLY_PATCH)

    def object_path(self, document: dict[str, Any]) -> str:
        """The object's path, its plural name asked from the API server once per kind."""
        plural, namespaced = self._plural(document["apiVersion"], document["kind"])
        metadata = document["metadata"]
        namespace = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{_prefix(document['apiVersion'])}{namespace}/{plural}/{quote(metadata['name'])}"

    def _plural(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._plurals:
            for resource in self.get(_prefix(api_version))["resources"]:
                if "/" not in resource["name"]:
                    entry = (resource["name"], resource["namespaced"])
                    self._plurals[api_version, resource["kind"]] = entry
        try:
            return self._plurals[api_version, kind]
        except KeyError:
            raise ApiError(404, "GET", _prefix(api_version), f"the server does not know {kind}") from None

    def request(self, method: str, path: str, document: Any = None, content_type: str = "application/json") -> Any:
        """One request and its decoded answer; a refusal becomes an ApiError."""
        body = None if document is None else json.dumps(document).encode()
        headers = self._headers | ({"Content-Type": content_type} if body is not None else {})
        try:
            status, data = self._exchange(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            text = f"the API server at {self._host}:{self._port} does not answer: {error}"
            raise ApiUnreachableError(text) from error
        if status >= http.client.BAD_REQUEST:
            raise ApiError(status, method, path, _message(data))
        return json.loads(data) if data[:1] in (b"{", b"[") else data.decode()

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Sends over an idle connection, or over a new one when the server has closed the idle one meanwhile."""
        while self._idle:
            try:
                return self._send(self._idle.pop(), method, path, body, headers)
            except (*_CONNECTION_LOST, IndexError):
                continue
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=_TIMEOUT_SECONDS, context=self._context
        )
        return self._send(connection, method, path, body, headers)

    def _send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return response.status, data

    def for_each(self, action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Does one thing with many items, some requests at a time; the first error is raised."""
        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            return list(pool.map(action, items))


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip()
