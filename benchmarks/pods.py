"""Creates pods as fast as the API server takes them and watches when each is bound, both in one light process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from muster_kube.session import ApiSession

GANG = "aiplatform.example.com/gang"
SIZE = "aiplatform.example.com/gang-size"
CREATORS = 32


@dataclass(frozen=True)
class Shape:
    """So many gangs of so many pods, one GPU each."""

    gangs: int
    size: int

    @property
    def pods(self) -> int:
        return self.gangs * self.size

    def __str__(self) -> str:
        return f"{self.gangs} x {self.size}"


@dataclass
class Run:
    """When the first pod was created and when each was bound, in seconds of the monotonic clock."""

    first_create: float = 0.0
    created: dict[str, float] = field(default_factory=dict)
    bound: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """First create to last bound."""
        return max(self.bound.values()) - self.first_create

    @property
    def latencies(self) -> list[float]:
        """Create to bound of each pod, ascending."""
        return sorted(self.bound[name] - self.created[name] for name in self.bound)


class _Meta(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    resource_version: str = ""


class _Spec(msgspec.Struct, rename="camel", gc=False):
    node_name: str = ""


class _Pod(msgspec.Struct, gc=False):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _Event(msgspec.Struct, gc=False):
    type: str
    object: _Pod


class _List(msgspec.Struct):
    metadata: _Meta


_EVENTS = msgspec.json.Decoder(_Event)


def manifests(namespace: str, shape: Shape, *, gangs: bool) -> Iterator[tuple[str, bytes]]:
    """Name and body of every pod; with gangs or as ordinary ungated pods of the same size."""
    for gang in range(shape.gangs):
        for member in range(shape.size):
            name = f"g{gang:04}-{member:05}"
            metadata: dict[str, object] = {"name": name, "namespace": namespace}
            if gangs:
                metadata["labels"] = {GANG: f"g{gang:04}"}
                metadata["annotations"] = {SIZE: str(shape.size)}
            resources = {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"}
            containers = [
                {
                    "name": "main",
                    "image": "none",
                    "resources": {"requests": resources, "limits": {"nvidia.com/gpu": "1"}},
                }
            ]
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
            yield name, msgspec.json.encode(body)


async def measure(kubeconfig: Path, namespace: str, shape: Shape, *, gangs: bool, timeout: float = 420.0) -> Run:
    """Create all pods of the shape and return once the watch has shown each of them bound."""
    run = Run()
    async with await ApiSession.connect(kubeconfig, connection_limit=CREATORS + 4, timeout=60.0) as session:
        path = f"/api/v1/namespaces/{namespace}/pods"
        start = msgspec.json.decode(await session.get(path, {"limit": "1"}), type=_List).metadata.resource_version
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(session, path, start, run, shape.pods))
            run.first_create = time.monotonic()
            todo = manifests(namespace, shape, gangs=gangs)
            for _ in range(CREATORS):
                tasks.create_task(_create(session, path, todo, run))
    return run


async def _create(session: ApiSession, path: str, todo: Iterator[tuple[str, bytes]], run: Run) -> None:
    for name, body in todo:
        run.created[name] = time.monotonic()
        await session.request("POST", path, body=body)


async def _watch(session: ApiSession, path: str, version: str, run: Run, pods: int) -> None:
    while len(run.bound) < pods:
        params = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with session.stream(path, params, idle_timeout=120.0) as stream:
            rest = b""
            while len(run.bound) < pods and (chunk := await stream.read()):
                now = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = _EVENTS.decode(line)
                    version = event.object.metadata.resource_version or version
                    if event.object.spec.node_name:
                        run.bound.setdefault(event.object.metadata.name, now)
