"""One test's own corner of the shared cluster: a managed namespace, nodes of its own, and words for what it does."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

from bones.builders import as_list, make_gang_pods, make_namespace, make_node, make_pod
from bones.control_plane import Kubectl
from bones.kube import Item, Items, Kube, NotFoundError
from bones.names import GANG, GATE, TEST_LABEL


class Stage:
    """Namespace, nodes and pods that no other test shares room with."""

    def __init__(self, kube: Kube, kubectl: Kubectl, name: str = "") -> None:
        self.kube, self.kubectl = kube, kubectl
        self.namespace = f"{name[:30].strip('-') or 'test'}-{uuid.uuid4().hex[:6]}"
        self._namespaces: list[str] = []
        self._nodes = 0
        self.open_namespace(self.namespace)

    def open_namespace(self, name: str, *, managed: bool = True) -> str:
        """A namespace that is cleaned away with the stage; its default ServiceAccount is there on return."""
        self.kube.create(make_namespace(name, managed=managed))
        self._namespaces.append(name)
        self.kube.wait_for("serviceaccounts", lambda items: "default" in items, namespace=name)
        return name

    def add_nodes(self, count: int, **changes: Any) -> list[str]:
        """Ready nodes that only this stage's pods ask for."""
        labels = {TEST_LABEL: self.namespace, **changes.pop("labels", {})}
        names = [f"{self.namespace}-n{self._nodes + number}" for number in range(count)]
        self._nodes += count
        self.kube.create_all(make_node(name, labels=labels, **changes) for name in names)
        self.wait_nodes_ready(names)
        return names

    def wait_nodes_ready(self, names: list[str], timeout: float = 60) -> None:
        self.kube.wait_for(
            "nodes",
            lambda nodes: all(name in nodes and is_ready(nodes[name]) for name in names),
            selector=f"{TEST_LABEL}={self.namespace}",
            timeout=timeout,
            what=f"{len(names)} ready nodes",
        )

    def gang_pods(self, gang: str, size: int, **changes: Any) -> list[Item]:
        return make_gang_pods(gang, self.namespace, size, on=self.namespace, **changes)

    def pod(self, name: str, **changes: Any) -> Item:
        return make_pod(name, changes.pop("namespace", self.namespace), on=self.namespace, **changes)

    def create(self, *manifests: Item) -> None:
        """As a person does it, with kubectl."""
        self.kubectl("create", "-f", "-", stdin=as_list(list(manifests)))

    def create_gang(self, gang: str, size: int, **changes: Any) -> None:
        self.create(*self.gang_pods(gang, size, **changes))

    def pods(self, gang: str = "") -> Items:
        return self.kube.items("pods", self.namespace, f"{GANG}={gang}" if gang else "")

    def gang(self, gang: str) -> Item:
        return self.kube.get("gangs", f"pods-{gang}", self.namespace)

    def wait_pods(self, predicate: Any, gang: str = "", *, timeout: float = 30, what: str = "") -> Items:
        selector = f"{GANG}={gang}" if gang else ""
        return self.kube.wait_for(
            "pods", predicate, namespace=self.namespace, selector=selector, timeout=timeout, what=what
        )

    def wait_bound(self, gang: str, count: int, *, timeout: float = 30) -> Items:
        """Until `count` members are bound."""
        return self.wait_pods(
            lambda pods: len(bound(pods)) >= count, gang, timeout=timeout, what=f"{count} bound of {gang}"
        )

    def wait_pod_bound(self, name: str, *, timeout: float = 30) -> Item:
        pods = self.wait_pods(lambda pods: name in bound(pods), timeout=timeout, what=f"pod {name} bound")
        return pods[name]

    def wait_gang(self, gang: str, predicate: Any, *, timeout: float = 30, what: str = "") -> Item:
        """Until the Gang object satisfies the predicate."""
        name = f"pods-{gang}"
        gangs = self.kube.wait_for(
            "gangs",
            lambda items: name in items and predicate(items[name]),
            namespace=self.namespace,
            timeout=timeout,
            what=what or f"gang {gang}",
        )
        return gangs[name]

    def wait_phase(self, gang: str, *phases: str, timeout: float = 30) -> Item:
        return self.wait_gang(
            gang, lambda item: phase_of(item) in phases, timeout=timeout, what=f"{gang} {' or '.join(phases)}"
        )

    def wait_reason(self, gang: str, reason: str, *, timeout: float = 30) -> Item:
        return self.wait_gang(gang, lambda item: reason_of(item) == reason, timeout=timeout, what=f"{gang} {reason}")

    def stays_unbound(self, gang: str = "", *, seconds: float = 2.0) -> None:
        """Nobody is bound, at any moment of these seconds."""
        selector = f"{GANG}={gang}" if gang else ""
        self.kube.stays(
            "pods",
            lambda pods: not bound(pods),
            namespace=self.namespace,
            selector=selector,
            seconds=seconds,
            what=f"{gang or self.namespace} unbound",
        )

    def clear(self) -> None:
        """Delete all pods, and wait until they hold no room any more."""
        for namespace in self._namespaces:
            self.kube.delete_all("aijobs", namespace)
            self.kube.delete_all("jobs", namespace)
            self._release_finalizers(namespace)
            self.kube.delete_all("pods", namespace)
        for namespace in self._namespaces:
            self.kube.wait_for("pods", lambda pods: not pods, namespace=namespace, timeout=60, what="no pods")
            self.kube.wait_for("gangs", lambda gangs: not gangs, namespace=namespace, timeout=60, what="no gangs")

    def strike(self) -> None:
        """Take everything away again."""
        self.clear()
        for namespace in self._namespaces:
            self.kube.delete("namespaces", namespace)
        self.kube.delete_all("nodes", selector=f"{TEST_LABEL}={self.namespace}")

    def _release_finalizers(self, namespace: str) -> None:
        for name, pod in self.kube.items("pods", namespace).items():
            if pod["metadata"].get("finalizers"):
                with contextlib.suppress(NotFoundError):
                    self.kube.patch("pods", name, {"metadata": {"finalizers": None}}, namespace)


def bound(pods: Items) -> set[str]:
    return {name for name, pod in pods.items() if pod["spec"].get("nodeName")}


def gates(pod: Item) -> list[str]:
    return [gate["name"] for gate in pod["spec"].get("schedulingGates") or []]


def is_gated(pod: Item) -> bool:
    return GATE in gates(pod)


def is_ready(node: Item) -> bool:
    """Ready, and with the taints of a new node gone."""
    conditions = node.get("status", {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not any(
        taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints") or []
    )


def phase_of(gang: Item) -> str:
    return str(gang.get("status", {}).get("phase", ""))


def reason_of(gang: Item) -> str:
    return str(gang.get("status", {}).get("reason", ""))


def message_of(gang: Item) -> str:
    return str(gang.get("status", {}).get("message", ""))


def condition_of(item: Item, kind: str) -> Item:
    """The condition of this type, or an empty one."""
    conditions = item.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})
