"""A real control plane whose controller is the test: it writes Gangs, tickets and the fence by hand."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from bones.builders import make_namespace, make_node, make_pod
from bones.control_plane import start_cluster
from bones.kube import STRATEGIC, Item, Items, Kube
from bones.names import BIND_MARKER, GATE, MEMBER_MARKER, RELEASE
from bones.stage import bound, is_ready
from muster_api.tickets import Ticket, parse_epoch, sign, single_gang
from muster_local.cluster import Cluster

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class ByHand:
    """What the controller would do for one namespace, one step at a time."""

    def __init__(self, cluster: Cluster, admin: Kube, controller: Kube, namespace: str) -> None:
        self.cluster, self.admin, self.controller, self.namespace = cluster, admin, controller, namespace
        secret = controller.get("secrets", "muster-release-key", "muster-system")
        self.key = base64.b64decode(secret["data"]["current"])
        self.gang_id = ""
        self.epoch = "1-1"
        self._markers = 0

    @staticmethod
    def in_background(call: Any) -> InBackground:
        return InBackground(call)

    @property
    def fence(self) -> dict[str, int]:
        spec = self.admin.get("placementterms", "default").get("spec") or {}
        return {"term": spec.get("term", 0), "seq": spec.get("seq", 0)}

    def move_fence(self, *, term: int, seq: int) -> None:
        self.admin.patch("placementterms", "default", {"spec": {"term": term, "seq": seq}})

    def add_nodes(self, count: int = 2, *, first: int = 0, **changes: Any) -> list[str]:
        names = [f"{self.namespace}-n{number}" for number in range(first, first + count)]
        labels = {"tests.example.com/of": self.namespace}
        self.admin.create_all(make_node(name, labels=labels, **changes) for name in names)
        self.admin.wait_for("nodes", lambda nodes: all(name in nodes and is_ready(nodes[name]) for name in names))
        return names

    def wait_nodes_seen(self) -> None:
        """Until the extender has seen every change of a node made before: one made after them is known to it."""
        [marker] = self.add_nodes(1, first=90 + self._markers)
        self._markers += 1
        door = Door(self.cluster.url("extender"))
        wait_until(lambda: marker in self._rooms(door, marker), 20, "the extender to see a new node")

    def _rooms(self, door: Door, node: str) -> list[str]:
        # Each question is another pod's: the extender does not answer the same one over and over.
        pod = make_pod("asker", "nobody", gpus=1)
        pod["metadata"]["uid"] = secrets.token_hex(8)
        rooms: list[str] = door.ask("filter", {"Pod": pod, "Nodes": None, "NodeNames": [node]})["NodeNames"] or []
        return rooms

    def create_pods(self, *names: str, gated: bool = True, marked: bool = True, **changes: Any) -> Items:
        """Pods as the webhook would leave them."""
        for name in names:
            pod = make_pod(name, changes.pop("namespace", self.namespace), on=self.namespace, **changes)
            if gated:
                pod["spec"]["schedulingGates"] = [{"name": GATE}]
            if marked:
                for half in pod["spec"]["containers"][0]["resources"].values():
                    half |= {MEMBER_MARKER: "0", BIND_MARKER: "0"}
            self.admin.create(pod)
        return self.admin.items("pods", self.namespace)

    def create_gang(self, name: str, plan: dict[str, str], *, minimum: int, phase: str = "Released") -> None:
        """A Gang with this plan (node to slots), reserved under the present fence."""
        self.gang_id = "".join(secrets.choice(BASE32) for _ in range(16))
        gang = {
            "apiVersion": "aiplatform.example.com/v1alpha1",
            "kind": "Gang",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"id": self.gang_id, "members": minimum, "minMembers": minimum},
        }
        self.admin.create(gang)
        runs = [{"node": node, "slots": slots} for node, slots in plan.items()]
        self.set_status(name, phase=phase, epoch=self.epoch, reservation=self.fence, plan=runs)

    def set_status(self, name: str, **status: Any) -> None:
        self.admin.patch("gangs", name, {"status": status}, self.namespace, subresource="status")

    def gang(self, name: str) -> Item:
        return self.admin.get("gangs", name, self.namespace)

    def wait_phase(self, name: str, phase: str, timeout: float = 30) -> Item:
        gangs = self.admin.wait_for(
            "gangs",
            lambda items: items[name]["status"]["phase"] == phase,
            namespace=self.namespace,
            timeout=timeout,
            what=phase,
        )
        return gangs[name]

    def ticket(self, slot: int, node: str, *, epoch: str = "") -> str:
        return sign(self.key, self.namespace, Ticket(self.gang_id, parse_epoch(epoch or self.epoch), slot, node))

    def single_ticket(self, uid: str, node: str) -> str:
        fence = self.fence
        epoch = parse_epoch(f"{fence['term']}-{fence['seq']}")
        return sign(self.key, self.namespace, Ticket(single_gang(uid), epoch, 0, node))

    def release(self, pod: str, ticket: str) -> None:
        """Gate off and ticket on, in one PATCH."""
        body = {
            "metadata": {"annotations": {RELEASE: ticket}},
            "spec": {"schedulingGates": [{"$patch": "delete", "name": GATE}]},
        }
        self.controller.patch("pods", pod, body, self.namespace, kind=STRATEGIC)

    def bound(self) -> set[str]:
        return bound(self.admin.items("pods", self.namespace))

    def wait_bound(self, count: int, timeout: float = 30) -> Items:
        return self.admin.wait_for(
            "pods",
            lambda pods: len(bound(pods)) >= count,
            namespace=self.namespace,
            timeout=timeout,
            what=f"{count} bound",
        )

    def stays_unbound(self, seconds: float = 1.5) -> None:
        self.admin.stays("pods", lambda pods: not bound(pods), namespace=self.namespace, seconds=seconds)

    def wait_admitted(self, pod: str, node: str) -> None:
        """Until filter lets the pod pass, after which kube-scheduler would call bind: the extender knows its Gang."""
        door, body = Door(self.cluster.url("extender")), self.admin.get("pods", pod, self.namespace)
        question = {"Pod": body, "Nodes": None, "NodeNames": [node]}

        def is_admitted() -> bool:
            answer = door.post("filter", question)
            return answer.status == 200 and json.loads(answer.data)["NodeNames"] == [node]

        wait_until(is_admitted, 20, f"{pod} to be admitted")

    def parked(self) -> int:
        return int(metric(self.cluster, "muster_extender_parked"))

    def wait_parked(self, count: int, timeout: float = 20) -> None:
        wait_until(lambda: self.parked() == count, timeout, f"{count} parked, not {self.parked()}")


class Door:
    """Calls the extender's verbs as kube-scheduler does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pool = urllib3.PoolManager(maxsize=64, block=False)

    def post(self, verb: str, body: Any, timeout: float = 10) -> urllib3.BaseHTTPResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self.pool.request(
            "POST", f"{self.url}/{verb}", body=data, headers=headers, timeout=timeout, retries=False
        )

    def ask(self, verb: str, body: Any) -> Any:
        answer = self.post(verb, body)
        assert answer.status == 200, answer.data
        return json.loads(answer.data)


class InBackground:
    """A call that is held, on a thread of its own."""

    def __init__(self, call: Any) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Any) -> None:
        try:
            self.answer = call()
        except Exception as error:
            self.answer = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, timeout: float = 30) -> Any:
        self._thread.join(timeout)
        assert self.is_done, "the call is still held"
        return self.answer


def wait_until(condition: Any, timeout: float, what: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.02)


def metric(cluster: Cluster, name: str) -> float:
    """The sum of a metric's series."""
    text = urllib3.request("GET", f"{cluster.url('extender')}/metrics", timeout=5).data.decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(value) for _, value in lines)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The real scheduler and extender; nobody plays controller or webhook but the test."""
    running = start_cluster(tmp_path_factory.mktemp("extender"), nodes=0, without=("webhook", "controller"))
    yield running
    running.down()


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="session")
def controller(cluster: Cluster) -> Iterator[Kube]:
    """The rights of the controller, whose component does not run."""
    client = Kube(cluster.kubeconfig())
    client.impersonate("system:serviceaccount:muster-system:muster-controller")
    yield client
    client.close()


@pytest.fixture
def hand(cluster: Cluster, admin: Kube, controller: Kube) -> Iterator[ByHand]:
    """A managed namespace with a controller made of test code."""
    namespace = f"hand-{secrets.token_hex(3)}"
    admin.create(make_namespace(namespace))
    admin.wait_for("serviceaccounts", lambda items: "default" in items, namespace=namespace)
    by_hand = ByHand(cluster, admin, controller, namespace)
    if by_hand.fence["term"] == 0:
        by_hand.move_fence(term=1, seq=1)
    yield by_hand
    admin.delete_all("pods", namespace)
    for name in admin.items("gangs", namespace):
        admin.delete("gangs", name, namespace)
    admin.delete_all("nodes", selector=f"tests.example.com/of={namespace}")
    admin.delete("namespaces", namespace)


@pytest.fixture
def door(cluster: Cluster) -> Iterator[Door]:
    calls = Door(cluster.url("extender"))
    yield calls
    calls.pool.clear()


@pytest.fixture
def restart(cluster: Cluster) -> Iterator[Any]:
    """Starts the extender anew with other settings, and as it was when the test is over."""

    def again(**env: str) -> None:
        cluster.stop("extender")
        cluster.start("extender", env=env)

    yield again
    again()


@pytest.fixture(name="wait_until")
def _wait_until() -> Any:
    return wait_until
