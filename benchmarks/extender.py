"""CPU of the extender per pod for filter + bind, and latency of filter, with a thousand candidate nodes.

Drives the real process against a real API server in kube-scheduler's place: filter calls one after the other, each with
all node names in an order of its own or, with --pinned, only the node that a job's pod is pinned to; bind calls beside
them on connections of their own, held until the gang is whole. In turns with an extender that decides nothing: what
that costs is the part of HTTP, TLS and the libraries.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from machine import cpu_seconds_of_tree, describe
from muster_api.names import (
    BIND_MARKER,
    GANG_LABEL,
    GPU_RESOURCE,
    MANAGED_LABEL,
    MARKER_QUANTITY,
    MEMBER_MARKER,
    RELEASE_ANNOTATION,
)
from muster_api.tickets import Ticket, parse, parse_epoch, sign
from muster_kube.session import ApiSession
from muster_local.cluster import Cluster

NAMESPACE = "extender-benchmark"
GOAL_CPU_MS, GOAL_PINNED_CPU_MS, GOAL_FILTER_P99_MS = 1.2, 0.8, 5.0
WRITERS = 32
ROUNDS = 3
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Gang:
    """One gang and where each of its members goes."""

    id: str
    name: str
    nodes: list[str]

    def manifest(self) -> dict[str, Any]:
        size = len(self.nodes)
        return {
            "apiVersion": "aiplatform.example.com/v1alpha1",
            "kind": "Gang",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {"id": self.id, "members": size, "minMembers": size},
        }

    def status(self) -> dict[str, Any]:
        plan = [{"node": node, "slots": str(slot)} for slot, node in enumerate(self.nodes)]
        return {"phase": "Released", "epoch": "1-1", "reservation": {"term": 1, "seq": 1}, "plan": plan}

    def pods(self, key: bytes) -> Iterator[dict[str, Any]]:
        for slot, node in enumerate(self.nodes):
            ticket = sign(key, NAMESPACE, Ticket(self.id, parse_epoch("1-1"), slot, node))
            resources = {"cpu": "1", "memory": "1Gi", GPU_RESOURCE: "1"}
            resources |= dict.fromkeys((MEMBER_MARKER, BIND_MARKER), MARKER_QUANTITY)
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{self.name}-{slot}",
                    "namespace": NAMESPACE,
                    "labels": {GANG_LABEL: self.name},
                    "annotations": {RELEASE_ANNOTATION: ticket},
                },
                "spec": {
                    "containers": [
                        {"name": "main", "image": "none", "resources": {"requests": resources, "limits": resources}}
                    ]
                },
            }


@dataclass
class Figures:
    """What one extender needed in all of its rounds."""

    pods: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    filters: list[float] = field(default_factory=list)
    handled_within: str = ""
    """The histogram bound below which the process itself handled 99 of 100 filter calls."""

    @property
    def cpu_ms_per_pod(self) -> float:
        return self.cpu_seconds * 1000 / self.pods

    def filter_ms(self, quantile: float) -> float:
        return sorted(self.filters)[int(quantile * (len(self.filters) - 1))] * 1000


def make_gangs(count: int, size: int, nodes: list[str]) -> list[Gang]:
    """Gangs spread over the nodes one after the other."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    places = iter(range(count * size))
    return [
        Gang(
            "".join(random.choices(letters, k=16)),
            f"pods-g{number}",
            [nodes[next(places) % len(nodes)] for _ in range(size)],
        )
        for number in range(count)
    ]


async def prepare(session: ApiSession, gangs: list[Gang]) -> dict[str, list[bytes]]:
    """Creates pods before the namespace is managed, so that nobody has to play webhook; returns them by gang."""
    secret = json.loads(await session.get("/api/v1/namespaces/muster-system/secrets/muster-release-key"))
    key = base64.b64decode(secret["data"]["current"])
    await create(session, "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    await create(session, account, {"kind": "ServiceAccount", "metadata": {"name": "default"}}, may_exist=True)
    await patch(
        session, "/apis/aiplatform.example.com/v1alpha1/placementterms/default", {"spec": {"term": 1, "seq": 1}}
    )
    todo = iter([pod for gang in gangs for pod in gang.pods(key)])
    await asyncio.gather(*(create_each(session, todo) for _ in range(WRITERS)))
    path = f"/apis/aiplatform.example.com/v1alpha1/namespaces/{NAMESPACE}/gangs"
    for gang in gangs:
        await create(session, path, gang.manifest())
        await patch(session, f"{path}/{gang.name}/status", {"status": gang.status()})
    await patch(session, f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": {MANAGED_LABEL: "true"}}})
    listed = json.loads(await session.list(f"/api/v1/namespaces/{NAMESPACE}/pods"))
    pods: dict[str, list[bytes]] = {}
    for pod in listed["items"]:
        pods.setdefault(pod["metadata"]["labels"][GANG_LABEL], []).append(as_scheduler_sends(pod))
    return pods


def as_scheduler_sends(pod: dict[str, Any]) -> bytes:
    """kube-scheduler's cache drops managedFields."""
    pod["metadata"].pop("managedFields", None)
    return msgspec.json.encode(pod)


async def create_each(session: ApiSession, todo: Iterator[dict[str, Any]]) -> None:
    for pod in todo:
        await create(session, f"/api/v1/namespaces/{NAMESPACE}/pods", pod)


async def create(session: ApiSession, path: str, body: Any, *, may_exist: bool = False) -> None:
    try:
        await session.request("POST", path, body=msgspec.json.encode(body))
    except Exception as error:
        if not may_exist or "AlreadyExists" not in str(error):
            raise


async def patch(session: ApiSession, path: str, body: Any) -> None:
    kind = "application/merge-patch+json"
    await session.request("PATCH", path, body=msgspec.json.encode(body), content_type=kind)


class Scheduler:
    """Calls filter serially over one connection and holds binds on others, like kube-scheduler."""

    def __init__(self, url: str, nodes: list[str], figures: Figures) -> None:
        """`nodes` are the candidates of every pod; without any a pod's only one is where it is planned."""
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._nodes = nodes
        self._figures = figures

    async def run(self, pods: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        # kube-scheduler keeps two idle connections to a host: under mass binds nearly each call opens its own.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        binds = []
        async with aiohttp.ClientSession(f"http://{self._host}:{self._port}", connector=connector) as session:
            for pod in pods:
                node = await self._filter(reader, writer, pod)
                binds.append(asyncio.create_task(bind(session, pod, node)))
            await asyncio.gather(*binds)
        writer.close()

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pod: bytes) -> str:
        random.shuffle(self._nodes)
        names = self._nodes or [planned_node(pod)]
        body = b'{"Pod":%b,"Nodes":null,"NodeNames":%b}' % (pod, msgspec.json.encode(names))
        head = f"POST /filter HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        began = time.perf_counter()
        writer.write(request)
        headers = await reader.readuntil(b"\r\n\r\n")
        length = int(headers.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        self._figures.filters.append(time.perf_counter() - began)
        result = json.loads(answer)
        if len(result["NodeNames"]) != 1:
            raise SystemExit(f"filter did not accept: {answer[:300]!r}")
        return str(result["NodeNames"][0])


def planned_node(pod: bytes) -> str:
    ticket = msgspec.json.decode(pod)["metadata"]["annotations"][RELEASE_ANNOTATION]
    return parse(ticket).node


async def bind(session: aiohttp.ClientSession, pod: bytes, node: str) -> None:
    metadata = msgspec.json.decode(pod)["metadata"]
    body = {"PodName": metadata["name"], "PodNamespace": NAMESPACE, "PodUID": metadata["uid"], "Node": node}
    async with session.post("/bind", json=body) as answer:
        result = await answer.json()
        if result["Error"]:
            raise SystemExit(f"bind failed: {result}")


async def drive(cluster: Cluster, gangs: list[Gang], nodes: list[str], bare: BareProcess) -> tuple[Figures, Figures]:
    """Muster and the bare extender, each with every other share of the gangs."""
    async with await ApiSession.connect(cluster.kubeconfig(), connection_limit=WRITERS, timeout=60) as session:
        pods = await prepare(session, gangs)
    muster_pid, muster_url = cluster.pid("extender"), cluster.url("extender")
    ours, theirs = Figures(), Figures()
    for share in range(ROUNDS):
        await measure(ours, muster_pid, muster_url, nodes, pods_of(gangs[2 * share :: 2 * ROUNDS], pods))
        await measure(theirs, bare.pid, bare.url, nodes, pods_of(gangs[2 * share + 1 :: 2 * ROUNDS], pods))
    ours.handled_within = handler_p99(muster_url)
    return ours, theirs


def pods_of(gangs: list[Gang], pods: dict[str, list[bytes]]) -> list[bytes]:
    return [pod for gang in gangs for pod in pods[gang.name]]


async def measure(figures: Figures, pid: int, url: str, nodes: list[str], pods: list[bytes]) -> None:
    await asyncio.sleep(SETTLE_SECONDS)
    cpu, began = cpu_seconds_of_tree(pid), time.monotonic()
    await Scheduler(url, nodes, figures).run(pods)
    figures.wall_seconds += time.monotonic() - began
    # The watch still brings what the last bindings changed.
    await asyncio.sleep(SETTLE_SECONDS)
    figures.cpu_seconds += cpu_seconds_of_tree(pid) - cpu
    figures.pods += len(pods)


class BareProcess:
    """The extender that decides nothing, as a process of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        script = Path(__file__).parent / "bare_extender.py"
        self._process = subprocess.Popen([sys.executable, script, kubeconfig, str(port)])
        self.pid, self.url = self._process.pid, f"http://127.0.0.1:{port}"

    def __enter__(self) -> BareProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def handler_p99(url: str) -> str:
    """The smallest bucket of the extender's own histogram that holds 99 of 100 filter calls, in milliseconds."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'handler_seconds_bucket{le="([^"]+)",verb="filter"} ([0-9.]+)', text)
    total = float(found[-1][1])
    bound = next(le for le, count in found if float(count) >= 0.99 * total)
    return f"{float(bound) * 1000:g} ms"


def node_names(cluster: Cluster) -> list[str]:
    listed = cluster.client.get("/api/v1/nodes")
    return [node["metadata"]["name"] for node in listed["items"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--gangs", type=int, default=100)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--pinned", action="store_true", help="one candidate a call, as for the pods of AIJobs")
    options = parser.parse_args()
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory(prefix="muster-extender-benchmark-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.up(
                nodes=options.nodes, bare=True, stores=False, without=("webhook", "controller", "kube-scheduler")
            )
            nodes = node_names(cluster)
            gangs = make_gangs(2 * options.gangs, options.size, nodes)
            with BareProcess(cluster.kubeconfig("extender")) as bare:
                figures, bare_figures = asyncio.run(drive(cluster, gangs, [] if options.pinned else nodes, bare))
        finally:
            cluster.down(purge=True)
    report(figures, bare_figures, options)
    return 0


def report(figures: Figures, bare: Figures, options: argparse.Namespace) -> None:
    candidates = "pinned, 1 candidate node" if options.pinned else f"not pinned, {options.nodes} candidate nodes"
    goal = GOAL_PINNED_CPU_MS if options.pinned else GOAL_CPU_MS
    print(f"{options.gangs} gangs x {options.size} pods on {options.nodes} nodes, {candidates} a call")
    figure = f"{figures.cpu_ms_per_pod:.2f} ms a pod (goal {goal})"
    print(f"extender CPU for filter + barrier + bind, with its watches: {figure}")
    print(
        f"the same from an extender that decides nothing and watches nothing: {bare.cpu_ms_per_pod:.2f} ms a pod; "
        f"ratio {figures.cpu_ms_per_pod / bare.cpu_ms_per_pod:.2f}"
    )
    print(
        f"filter as its caller sees it: p50 {figures.filter_ms(0.5):.2f} ms, p99 {figures.filter_ms(0.99):.2f} ms "
        f"worst {figures.filter_ms(1.0):.2f} ms"
    )
    print(f"filter in the process itself: p99 within {figures.handled_within} (goal {GOAL_FILTER_P99_MS:g} ms)")
    print(f"{figures.pods} pods in {figures.wall_seconds:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
