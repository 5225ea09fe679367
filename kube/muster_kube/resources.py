"""Where resources live under the API server's root, and the ones that every part of Muster reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from muster_api import names


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A resource, the namespace it is read in (None: all), and what a list or watch of it selects."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    field_selector: str = ""
    label_selector: str = ""

    @property
    def collection(self) -> str:
        """The path to list, watch and create at."""
        return self._below(self.namespace)

    def object_path(self, namespace: str | None, name: str, subresource: str = "") -> str:
        """The path of one object; cluster-scoped ones have the namespace None or empty."""
        path = f"{self._below(namespace)}/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path

    def in_namespace(self, namespace: str) -> ResourcePath:
        return replace(self, namespace=namespace)

    def selecting(self, *, fields: str = "", labels: str = "") -> ResourcePath:
        """The same resource, read through these selectors."""
        return replace(self, field_selector=fields, label_selector=labels)

    def selectors(self) -> dict[str, str]:
        """Its selectors as query parameters."""
        wanted = {"fieldSelector": self.field_selector, "labelSelector": self.label_selector}
        return {key: value for key, value in wanted.items() if value}

    def _below(self, namespace: str | None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"{root}{scope}/{self.plural}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS: Final = ResourcePath("", "v1", "pods")
UNFINISHED_PODS: Final = PODS.selecting(fields="status.phase!=Succeeded,status.phase!=Failed")
NODES: Final = ResourcePath("", "v1", "nodes")
NAMESPACES: Final = ResourcePath("", "v1", "namespaces")
SECRETS: Final = ResourcePath("", "v1", "secrets")
EVENTS: Final = ResourcePath("", "v1", "events")
LEASES: Final = ResourcePath("coordination.k8s.io", "v1", "leases")
SERVICES: Final = ResourcePath("", "v1", "services")
ENDPOINT_SLICES: Final = ResourcePath("discovery.k8s.io", "v1", "endpointslices")
AIJOBS: Final = ResourcePath(names.GROUP, names.VERSION, "aijobs")
AIJOB_QUEUES: Final = ResourcePath(names.GROUP, names.VERSION, "aijobqueues")
COMPUTE_CLUSTERS: Final = ResourcePath(names.GROUP, names.VERSION, "computeclusters")
GANGS: Final = ResourcePath(names.GROUP, names.VERSION, "gangs")
PLACEMENT_TERMS: Final = ResourcePath(names.GROUP, names.VERSION, "placementterms")
