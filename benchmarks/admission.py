"""Latency of pod admission at a steady rate of creations.

First the webhook alone: reviews over kept-alive TLS connections, sent on schedule whether or not earlier ones are
answered, so that a slow answer cannot hide the next; in turns with as many requests that it answers without a look, for
what TLS, HTTP and this machine cost by themselves. Then whole creations through a real API server, beside the same in a
namespace that is not managed, with the time that the API server itself says it waited for the webhook.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from machine import cpu_seconds, describe
from muster_api.names import GANG_LABEL, GANG_SIZE_ANNOTATION, GPU_RESOURCE, MANAGED_LABEL
from muster_kube.session import ApiSession
from muster_local.cluster import Cluster

MANAGED, UNMANAGED = "admission-benchmark", "admission-benchmark-unmanaged"
GOAL_P99_MS = 5.0
CONNECTIONS = 8
ROUNDS = 4
PATIENCE_SECONDS = 120.0
WITHOUT = ("kube-scheduler", "kube-controller-manager", "kwok", "extender", "controller")
ANSWER_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
WAITED = re.compile(
    r'^apiserver_admission_webhook_admission_duration_seconds_bucket\{name="pods\..*le="([^"]+)"\} (\d+)'
)


def make_pod(number: int, namespace: str) -> dict[str, Any]:
    """A member of a gang of a hundred, about as long as a real one."""
    resources = {"cpu": "4", "memory": "32Gi", GPU_RESOURCE: "1"}
    environment = [{"name": f"VARIABLE_{index}", "value": "x" * 40} for index in range(20)]
    container = {
        "name": "main",
        "image": "none",
        "args": ["--steps", "1000"],
        "env": environment,
        "resources": {"requests": resources, "limits": resources},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"p{number}",
            "namespace": namespace,
            "labels": {GANG_LABEL: f"g{number // 100}"},
            "annotations": {GANG_SIZE_ANNOTATION: "100"},
        },
        "spec": {"containers": [container]},
    }


def make_review(number: int) -> bytes:
    request = {
        "uid": f"review-{number}",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "userInfo": {"username": "benchmark"},
        "object": make_pod(number, MANAGED),
        "oldObject": None,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


async def on_schedule(count: int, rate: float, call: Callable[[int], Awaitable[None]]) -> list[float]:
    """Latencies in seconds, each from the moment at which the call was due."""
    latencies: list[float] = []
    start = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        due = start + number / rate
        await asyncio.sleep(due - time.perf_counter())
        await call(number)
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return latencies


class Connections:
    """A few kept-alive TLS connections to the webhook, as the API server has them."""

    def __init__(self) -> None:
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def open(self, url: str) -> None:
        host, _, port = url.removeprefix("https://").partition(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(await asyncio.open_connection(host, int(port), ssl=context))

    async def review(self, number: int) -> None:
        answer = await self._exchange("POST /mutate/pods", make_review(number))
        if b'"patch"' not in answer:
            raise RuntimeError(answer.decode())

    async def ask_nothing(self, number: int) -> None:
        """As long a request, whose body nobody reads."""
        await self._exchange("GET /healthz", make_review(number))

    async def _exchange(self, what: str, body: bytes) -> bytes:
        reader, writer = await self._idle.get()
        head = f"{what} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + body)
        headers = await reader.readuntil(b"\r\n\r\n")
        found = ANSWER_LENGTH.search(headers)
        answer = await reader.readexactly(int(found[1]) if found else 0)
        self._idle.put_nowait((reader, writer))
        return answer

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()


async def open_namespaces(session: ApiSession) -> None:
    for name, labels in ((MANAGED, {MANAGED_LABEL: "true"}), (UNMANAGED, {})):
        await post(session, "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        await post(session, f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})


async def post(session: ApiSession, path: str, body: dict[str, Any]) -> None:
    await session.request("POST", path, body=msgspec.json.encode(body), timeout=PATIENCE_SECONDS)


async def create_pods(session: ApiSession, namespace: str, count: int, rate: float) -> list[float]:
    path = f"/api/v1/namespaces/{namespace}/pods"
    return await on_schedule(count, rate, lambda number: post(session, path, make_pod(number, namespace)))


async def share_within_goal(session: ApiSession) -> float:
    """Share of the API server's calls of the webhook that took no longer than the goal."""
    text = (await session.get("/metrics")).decode()
    counts = {found[1]: int(found[2]) for found in map(WAITED.match, text.splitlines()) if found}
    return counts[str(GOAL_P99_MS / 1000)] / counts["+Inf"]


def show(what: str, latencies: list[float]) -> float:
    """Prints a line and returns the 99th percentile in milliseconds."""
    ordered = sorted(latencies)
    p50, p99, worst = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.99, 1))
    print(f"{what:<48} P50 {p50:6.2f} ms   P99 {p99:6.2f} ms   longest {worst:7.2f} ms")
    return p99


async def measure(cluster: Cluster, count: int, rate: float) -> None:
    connections = Connections()
    await connections.open(cluster.url("webhook"))
    await on_schedule(int(rate), rate, connections.review)
    reviews: list[float] = []
    nothing: list[float] = []
    spent = 0.0
    for _ in range(ROUNDS):
        before = cpu_seconds(cluster.pid("webhook"))
        reviews += await on_schedule(count // ROUNDS, rate, connections.review)
        spent += cpu_seconds(cluster.pid("webhook")) - before
        nothing += await on_schedule(count // ROUNDS, rate, connections.ask_nothing)
    connections.close()
    p99 = show("webhook alone, over TLS", reviews)
    print(f"{'':<48} {spent / len(reviews) * 1000:.2f} ms of its CPU a pod; P99 below {GOAL_P99_MS} ms: ", end="")
    print("reached" if p99 < GOAL_P99_MS else "MISSED")
    show("requests answered without a look, in turns", nothing)
    async with await ApiSession.connect(cluster.kubeconfig()) as session:
        await open_namespaces(session)
        show("whole creation, unmanaged namespace", await create_pods(session, UNMANAGED, count, rate))
        show("whole creation, managed namespace", await create_pods(session, MANAGED, count, rate))
        share = await share_within_goal(session)
        print(f"the API server waited at most {GOAL_P99_MS} ms for the webhook in {share:.2%} of the creations")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300, help="creations a second [300]")
    parser.add_argument("--seconds", type=float, default=10, help="duration of each measurement [10]")
    arguments = parser.parse_args()
    print(describe())
    print(f"{arguments.rate:.0f} pods a second for {arguments.seconds:.0f} s each")
    with tempfile.TemporaryDirectory(prefix="muster-benchmark-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.up(nodes=0, stores=False, without=WITHOUT)
            asyncio.run(measure(cluster, int(arguments.rate * arguments.seconds), arguments.rate))
        finally:
            cluster.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
