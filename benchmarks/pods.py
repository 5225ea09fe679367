"""Creates pods or AIJobs as fast as the API server takes them and watches when each pod is bound, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from muster_kube.session import ApiSession

GANG = "aiplatform.example.com/gang"
SIZE = "aiplatform.example.com/gang-size"
AIJOBS = "/apis/aiplatform.example.com/v1alpha1/namespaces/{}/aijobs"
RESOURCES = {"nvidia.com/gpu": "1", "cpu": "1", "memory": "1Gi"}
CREATORS = 32


class Kind(StrEnum):
    """Whose pods they are."""

    STOCK = "stock"
    """Ordinary pods that kube-scheduler places one by one."""
    GANGS = "gangs"
    """Pods that name their gang."""
    AIJOBS = "aijobs"
    """Pods that the controller makes for jobs."""


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
    """When the first pod or job was created and when each pod was bound, in seconds of the monotonic clock."""

    first_create: float = 0.0
    created: dict[str, float] = field(default_factory=dict)
    """Of each pod, or of each job."""
    bound: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """First create to last bound."""
        return max(self.bound.values()) - self.first_create

    @property
    def latencies(self) -> list[float]:
        """Create to bound of each pod, ascending; a job's pods count from when the job was created."""
        return sorted(bound - self._created(name) for name, bound in self.bound.items())

    def _created(self, pod: str) -> float:
        own = self.created.get(pod)
        return self.created[pod.split("-")[0]] if own is None else own


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


def pods(namespace: str, shape: Shape, *, gangs: bool) -> Iterator[tuple[str, bytes]]:
    """Name and body of every pod; with gangs or as ordinary ungated pods of the same size."""
    for gang in range(shape.gangs):
        for member in range(shape.size):
            name = f"g{gang:04}-{member:05}"
            metadata: dict[str, object] = {"name": name, "namespace": namespace}
            if gangs:
                metadata["labels"] = {GANG: f"g{gang:04}"}
                metadata["annotations"] = {SIZE: str(shape.size)}
            containers = [
                {
                    "name": "main",
                    "image": "none",
                    "resources": {"requests": RESOURCES, "limits": {"nvidia.com/gpu": "1"}},
                }
            ]
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
            yield name, msgspec.json.encode(body)


def jobs(namespace: str, shape: Shape) -> Iterator[tuple[str, bytes]]:
    """Name and body of one AIJob for each gang."""
    for gang in range(shape.gangs):
        name = f"g{gang:04}"
        spec = {
            "jobType": "training",
            "image": "none",
            "resources": {"requests": RESOURCES},
            "gang": {"enabled": True, "minMembers": shape.size},
        }
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "aiplatform.example.com/v1alpha1", "kind": "AIJob", "metadata": metadata, "spec": spec}
        yield name, msgspec.json.encode(body)


async def measure(kubeconfig: Path, namespace: str, shape: Shape, kind: Kind, *, timeout: float = 420.0) -> Run:
    """Create all pods or jobs of the shape and return once the watch has shown each pod bound."""
    run = Run()
    async with await ApiSession.connect(kubeconfig, connection_limit=CREATORS + 4, timeout=60.0) as session:
        path = f"/api/v1/namespaces/{namespace}/pods"
        start = msgspec.json.decode(await session.get(path, {"limit": "1"}), type=_List).metadata.resource_version
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(session, path, start, run, shape.pods))
            run.first_create = time.monotonic()
            if kind is Kind.AIJOBS:
                target, todo = AIJOBS.format(namespace), jobs(namespace, shape)
            else:
                target, todo = path, pods(namespace, shape, gangs=kind is Kind.GANGS)
            for _ in range(CREATORS):
                tasks.create_task(_create(session, target, todo, run))
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
