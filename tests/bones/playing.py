"""What the controller's tests do by hand: webhook, scheduler, extender and users, one step at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from bones.builders import make_gang_pods, make_namespace, make_node, make_pod
from bones.kube import STRATEGIC, Item, Items, Kube
from bones.names import BIND_MARKER, GATE, MEMBER_MARKER, RELEASE
from muster_api.gangs import Fence
from muster_api.tickets import Ticket, verify

OF = "tests.example.com/of"
REPAIR_SECONDS = 4
ENVIRONMENT = {
    "MUSTER_REPAIR_DEADLINE": str(REPAIR_SECONDS),
    "MUSTER_LEASE_DURATION": "3",
    "MUSTER_LEASE_RENEW_DEADLINE": "2",
    "MUSTER_LEASE_RETRY_PERIOD": "0.5",
}


class Playing:
    """What webhook, scheduler, extender and users do in one namespace."""

    def __init__(self, admin: Kube, extender: Kube, controller: Kube, namespace: str) -> None:
        self.admin, self.extender, self.controller, self.namespace = admin, extender, controller, namespace
        secret = admin.get("secrets", "muster-release-key", "muster-system")
        self.key = base64.b64decode(secret["data"]["current"])

    # -- users and the webhook

    def add_nodes(self, count: int, **changes: Any) -> list[str]:
        names = [f"{self.namespace}-n{number}" for number in range(count)]
        for name in names:
            self.admin.create(make_node(name, labels={OF: self.namespace}, **changes))
        return names

    def create_gang(self, gang: str, size: int, *, count: int | None = None, first: int = 0, **changes: Any) -> None:
        self._create(*make_gang_pods(gang, self.namespace, size, count=count, first=first, **self._here(changes)))

    def create_pod(self, name: str, **changes: Any) -> None:
        self._create(make_pod(name, self.namespace, **self._here(changes)))

    def open_namespace(self, *, managed: bool = True) -> None:
        self.admin.create(make_namespace(self.namespace, managed=managed))
        self.admin.wait_for("serviceaccounts", lambda items: "default" in items, namespace=self.namespace)

    def cordon(self, node: str) -> None:
        self.admin.patch("nodes", node, {"spec": {"unschedulable": True}})

    # -- the scheduler and the extender

    def commit(self, gang: str) -> None:
        """The barrier has opened."""
        self.set_status(gang, phase="Committed", committedAt="2026-01-01T00:00:00Z")

    def set_status(self, gang: str, **status: Any) -> None:
        self.extender.patch("gangs", f"pods-{gang}", {"status": status}, self.namespace, subresource="status")

    def bind(self, *pods: str) -> None:
        """To the node of each pod's ticket."""
        for pod in pods:
            target = {"apiVersion": "v1", "kind": "Node", "name": self.ticket(pod).node}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
            self.extender.post(f"api/v1/namespaces/{self.namespace}/pods/{pod}/binding", body)

    def end(self, pod: str, phase: str = "Succeeded") -> None:
        self.admin.patch("pods", pod, {"status": {"phase": phase}}, self.namespace, subresource="status")

    def refuse(self, pod: str, message: str) -> None:
        """kube-scheduler says no."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        body = {"status": {"conditions": [condition]}}
        self.admin.patch("pods", pod, body, self.namespace, kind=STRATEGIC, subresource="status")

    def run_gang(self, gang: str, size: int, **changes: Any) -> Item:
        """All the way to Running."""
        self.create_gang(gang, size, **changes)
        self.wait_phase(gang, "Released")
        self.commit(gang)
        self.bind(*(f"{gang}-{number}" for number in range(size)))
        return self.wait_phase(gang, "Running")

    # -- what is there

    def ticket(self, pod: str) -> Ticket:
        """The ticket of a pod, checked as the extender does."""
        text = self.admin.get("pods", pod, self.namespace)["metadata"]["annotations"][RELEASE]
        return verify([self.key], self.namespace, text)

    def gang(self, gang: str) -> Item:
        return self.admin.get("gangs", f"pods-{gang}", self.namespace)

    def wait_gang(self, gang: str, condition: Callable[[Item], bool], *, timeout: float = 20, what: str = "") -> Item:
        name = f"pods-{gang}"
        found = self.admin.wait_for(
            "gangs",
            lambda gangs: name in gangs and condition(gangs[name]),
            namespace=self.namespace,
            timeout=timeout,
            what=what,
        )
        return found[name]

    def wait_phase(self, gang: str, phase: str, *, timeout: float = 20) -> Item:
        return self.wait_gang(gang, lambda item: status(item).get("phase") == phase, timeout=timeout, what=phase)

    def wait_reason(self, gang: str, reason: str, *, timeout: float = 10) -> Item:
        return self.wait_gang(gang, lambda item: status(item).get("reason") == reason, timeout=timeout, what=reason)

    def wait_no_gang(self, gang: str, *, timeout: float = 20) -> None:
        self.admin.wait_for(
            "gangs", lambda gangs: f"pods-{gang}" not in gangs, namespace=self.namespace, timeout=timeout
        )

    def wait_pods(self, condition: Callable[[Items], bool], *, timeout: float = 20, what: str = "") -> Items:
        return self.admin.wait_for("pods", condition, namespace=self.namespace, timeout=timeout, what=what)

    def wait_event(self, about: str, reason: str, *, timeout: float = 10) -> None:
        self.admin.wait_event(about, reason, namespace=self.namespace, timeout=timeout)

    def wait_ticket(self, pod: str) -> Ticket:
        def has_ticket(pods: Items) -> bool:
            return RELEASE in (pods[pod]["metadata"].get("annotations") or {})

        self.wait_pods(has_ticket, what=f"a ticket for {pod}")
        return self.ticket(pod)

    def fence(self) -> Fence:
        spec = self.admin.get("placementterms", "default")["spec"]
        return Fence(term=spec["term"], seq=spec["seq"])

    def _create(self, *pods: Item) -> None:
        for pod in pods:
            for amounts in pod["spec"]["containers"][0]["resources"].values():
                amounts |= {MEMBER_MARKER: "0", BIND_MARKER: "0"}
            pod["spec"]["schedulingGates"] = [*pod["spec"].get("schedulingGates", []), {"name": GATE}]
            self.admin.create(pod)

    def _here(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {"on": None, "nodeSelector": {OF: self.namespace}, **changes}


def status(item: Item) -> Item:
    found: Item = item.get("status") or {}
    return found


def is_open(pod: Item) -> bool:
    """Whether our gate is off."""
    return not any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates") or [])
