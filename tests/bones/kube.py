"""A small synchronous client of the API server for tests; waiting is a watch, never a sleep."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3
import yaml

Item = dict[str, Any]
Items = dict[str, Item]
"""Objects by name, or by namespace/name when no namespace was asked for."""

_PREFIXES = {
    "namespaces": ("api/v1", False),
    "nodes": ("api/v1", False),
    "pods": ("api/v1", True),
    "secrets": ("api/v1", True),
    "serviceaccounts": ("api/v1", True),
    "services": ("api/v1", True),
    "events": ("api/v1", True),
    "endpoints": ("api/v1", True),
    "endpointslices": ("apis/discovery.k8s.io/v1", True),
    "jobs": ("apis/batch/v1", True),
    "deployments": ("apis/apps/v1", True),
    "leases": ("apis/coordination.k8s.io/v1", True),
    "priorityclasses": ("apis/scheduling.k8s.io/v1", False),
    "gangs": ("apis/aiplatform.example.com/v1alpha1", True),
    "placementterms": ("apis/aiplatform.example.com/v1alpha1", False),
    "aijobs": ("apis/aiplatform.example.com/v1alpha1", True),
    "aijobqueues": ("apis/aiplatform.example.com/v1alpha1", True),
    "computeclusters": ("apis/aiplatform.example.com/v1alpha1", False),
    "mutatingwebhookconfigurations": ("apis/admissionregistration.k8s.io/v1", False),
    "poddisruptionbudgets": ("apis/policy/v1", True),
}
PLURALS = {
    "Namespace": "namespaces",
    "Node": "nodes",
    "Pod": "pods",
    "Job": "jobs",
    "Gang": "gangs",
    "AIJob": "aijobs",
    "AIJobQueue": "aijobqueues",
    "ComputeCluster": "computeclusters",
    "PriorityClass": "priorityclasses",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Service": "services",
    "EndpointSlice": "endpointslices",
}
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
POLL_SECONDS = 0.05
_PASSING = frozenset({404, 410, 429, 500, 503, 504})


class KubeError(Exception):
    """The API server refused; `status` is the HTTP code and the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class WaitTimeoutError(AssertionError):
    """What a test waited for did not come; the message tells what was there instead."""


class Kube:
    """One user of one cluster."""

    def __init__(self, kubeconfig: Path | str) -> None:
        self.kubeconfig = Path(kubeconfig)
        self._server, self._pool = _open_pool(self.kubeconfig)

    def close(self) -> None:
        self._pool.clear()

    def impersonate(self, user: str) -> None:
        """Speak as another user from now on, with that user's rights alone."""
        self._pool.headers = {**self._pool.headers, "Impersonate-User": user}

    def create(self, manifest: Item) -> Item:
        """POST one manifest; its kind and namespace say where."""
        return self._send("POST", self._path_of(manifest), body=manifest)

    def create_all(self, manifests: Iterable[Item], *, parallel: int = 8) -> list[Item]:
        """POST many at once, in no particular order."""
        with ThreadPoolExecutor(parallel) as pool:
            return list(pool.map(self.create, manifests))

    def get(self, resource: str, name: str, namespace: str | None = None) -> Item:
        return self._send("GET", _path(resource, namespace, name))

    def find(self, resource: str, name: str, namespace: str | None = None) -> Item | None:
        """The object, or nothing when it does not exist."""
        try:
            return self.get(resource, name, namespace)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def items(self, resource: str, namespace: str | None = None, selector: str = "") -> Items:
        return self._list(resource, namespace, selector)[0]

    def patch(
        self,
        resource: str,
        name: str,
        body: Item | list[Item],
        namespace: str | None = None,
        *,
        kind: str = MERGE,
        subresource: str = "",
    ) -> Item:
        path = _path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        return self._send("PATCH", path, body=body, content_type=kind)

    def post(self, path: str, body: Item) -> Item:
        """POST to a path that is no plain collection, such as a binding."""
        return self._send("POST", path, body=body)

    def delete(self, resource: str, name: str, namespace: str | None = None, *, grace: int | None = None) -> None:
        """Delete; an object that is gone already is fine."""
        body = {"propagationPolicy": "Background"} | ({} if grace is None else {"gracePeriodSeconds": grace})
        with contextlib.suppress(NotFoundError):
            self._send("DELETE", _path(resource, namespace, name), body=body)

    def delete_all(self, resource: str, namespace: str | None = None, selector: str = "") -> None:
        """Delete a whole collection at once and without grace."""
        query = f"?labelSelector={selector}" if selector else ""
        body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        self._send("DELETE", _path(resource, namespace) + query, body=body, timeout=180)

    def watch(
        self, resource: str, namespace: str | None = None, selector: str = "", *, version: str, seconds: float
    ) -> Iterator[list[tuple[str, Item]]]:
        """Events in batches, as they come; ends after about `seconds`."""
        query = f"?watch=1&resourceVersion={version}&timeoutSeconds={int(seconds) + 1}"
        query += f"&labelSelector={selector}" if selector else ""
        timeout = urllib3.Timeout(connect=5, read=max(seconds, POLL_SECONDS))
        response = self._pool.request(
            "GET", self._url(_path(resource, namespace) + query), preload_content=False, timeout=timeout
        )
        try:
            yield from _events(response)
        except urllib3.exceptions.ReadTimeoutError:
            return
        finally:
            response.close()
            response.release_conn()

    def wait_for(
        self,
        resource: str,
        predicate: Callable[[Items], Any],
        *,
        namespace: str | None = None,
        selector: str = "",
        timeout: float = 30,
        what: str = "",
    ) -> Items:
        """Follow a resource until the predicate over all its objects holds; returns them as they were then."""
        deadline = time.monotonic() + timeout
        items: Items = {}
        while (left := deadline - time.monotonic()) > 0:
            try:
                items, version = self._list(resource, namespace, selector)
                if predicate(items):
                    return items
                for batch in self.watch(resource, namespace, selector, version=version, seconds=left):
                    _apply(items, batch, namespace)
                    if predicate(items):
                        return items
            except KubeError as error:
                if error.status not in _PASSING:
                    raise
            except (urllib3.exceptions.HTTPError, OSError):
                pass  # an API server that a test took away comes back
            if deadline - time.monotonic() > POLL_SECONDS:
                time.sleep(POLL_SECONDS)
        raise WaitTimeoutError(
            f"waited {timeout:.0f} s for {what or predicate.__name__}; {resource}: {describe(items)}"
        )

    def wait_event(self, about: str, reason: str, *, namespace: str, timeout: float = 20) -> None:
        """Until an event with this reason tells of the object with this name."""

        def is_told(events: Items) -> bool:
            return any(
                event["involvedObject"]["name"] == about and event["reason"] == reason for event in events.values()
            )

        self.wait_for("events", is_told, namespace=namespace, timeout=timeout, what=f"{reason} about {about}")

    def stays(
        self,
        resource: str,
        predicate: Callable[[Items], Any],
        *,
        namespace: str | None = None,
        selector: str = "",
        seconds: float,
        what: str = "",
    ) -> None:
        """Fail as soon as the predicate does not hold at any moment of the next seconds."""
        try:
            broken = self.wait_for(
                resource, lambda items: not predicate(items), namespace=namespace, selector=selector, timeout=seconds
            )
        except WaitTimeoutError:
            return
        raise AssertionError(f"{what or 'it'} did not stay so; {resource}: {describe(broken)}")

    def _list(self, resource: str, namespace: str | None, selector: str) -> tuple[Items, str]:
        query = f"?labelSelector={selector}" if selector else ""
        answer = self._send("GET", _path(resource, namespace) + query)
        return {_key(item, namespace): item for item in answer["items"]}, answer["metadata"]["resourceVersion"]

    def _path_of(self, manifest: Item) -> str:
        return _path(PLURALS[manifest["kind"]], manifest["metadata"].get("namespace"))

    def _url(self, path: str) -> str:
        return f"{self._server}/{path}"

    def _send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "application/json", timeout: float = 30
    ) -> Item:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._pool.headers, "Content-Type": content_type}
        response = self._pool.request(
            method, self._url(path), body=data, headers=headers, timeout=timeout, retries=False
        )
        answer: Item = _decoded(response.data)
        if response.status >= 400:
            kind = NotFoundError if response.status == 404 else KubeError
            raise kind(response.status, answer.get("message", response.data[:500].decode(errors="replace")))
        return answer


class NotFoundError(KubeError):
    """There is no such object."""


def describe(items: Items) -> str:
    """One line an object with what tests usually wait for."""
    lines = [f"{name} {_words(item)}" for name, item in sorted(items.items())]
    shown = lines[:20] + ([f"... {len(lines) - 20} more"] if len(lines) > 20 else [])
    return "\n  ".join(["", *shown]) if shown else "none"


def _words(item: Item) -> str:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    words = [
        f"phase={status.get('phase')}",
        f"node={spec.get('nodeName')}" if "containers" in spec else f"epoch={status.get('epoch')}",
        f"gates={[gate['name'] for gate in spec.get('schedulingGates') or []]}" if "containers" in spec else "",
        f"reason={status.get('reason')}" if status.get("reason") else "",
        f"message={status.get('message')!r}" if status.get("message") else "",
        *(
            f"{condition['type']}={condition['status']}/{condition.get('reason', '')}"
            for condition in status.get("conditions") or []
            if condition["type"] in ("PodScheduled", "Scheduled", "Healthy")
        ),
    ]
    return " ".join(word for word in words if word)


def _path(resource: str, namespace: str | None = None, name: str = "") -> str:
    prefix, namespaced = _PREFIXES[resource]
    scope = f"/namespaces/{namespace}" if namespaced and namespace else ""
    return f"{prefix}{scope}/{resource}" + (f"/{name}" if name else "")


def _key(item: Item, namespace: str | None) -> str:
    metadata = item["metadata"]
    inside = metadata.get("namespace")
    return metadata["name"] if namespace or not inside else f"{inside}/{metadata['name']}"


def _apply(items: Items, batch: list[tuple[str, Item]], namespace: str | None) -> None:
    for kind, item in batch:
        if kind == "DELETED":
            items.pop(_key(item, namespace), None)
        else:
            items[_key(item, namespace)] = item


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[list[tuple[str, Item]]]:
    rest = b""
    while chunk := response.read1(1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        events = [_decoded(line) for line in lines if line]
        if any(event["type"] == "ERROR" for event in events):
            return
        yield [(event["type"], event["object"]) for event in events]


def _decoded(data: bytes) -> Item:
    try:
        answer: Item = json.loads(data)
    except ValueError:
        return {}
    return answer


def _open_pool(kubeconfig: Path) -> tuple[str, urllib3.PoolManager]:
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    token = user.get("token") or (_material(kubeconfig, user, "tokenFile") or b"").decode().strip()
    pool = urllib3.PoolManager(
        maxsize=32,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        ssl_context=_tls(kubeconfig, cluster, user),
    )
    return cluster["server"].rstrip("/"), pool


def _tls(kubeconfig: Path, cluster: Item, user: Item) -> ssl.SSLContext:
    authority = _material(kubeconfig, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = (_material(kubeconfig, user, name) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(kubeconfig: Path, section: Item, name: str) -> bytes | None:
    if encoded := section.get(f"{name}-data"):
        return base64.b64decode(encoded)
    return (kubeconfig.parent / section[name]).read_bytes() if section.get(name) else None


def _named(entries: list[Item], name: str) -> Item:
    return next(entry for entry in entries if entry["name"] == name)
