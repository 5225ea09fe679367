"""What every pod of a node shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muster_kube.clock import Clock
from muster_kube.events import EventRecorder, EventType, Reference
from muster_kube.writer import Writer
from muster_local.process_node.addresses import Addresses
from muster_local.process_node.catalog import Catalog
from muster_local.process_node.folders import NodeFolders
from muster_local.process_node.host_files import HostFiles
from muster_local.process_node.images import ImageTable
from muster_local.process_node.objects import Pod
from muster_local.process_node.restarts import BackoffRule
from muster_local.process_node.supervisor.launch import Isolation


@dataclass(frozen=True, slots=True)
class NodeContext:
    """The node as its pods see it."""

    writer: Writer
    catalog: Catalog
    recorder: EventRecorder
    clock: Clock
    folders: NodeFolders
    images: ImageTable
    addresses: Addresses
    host_files: HostFiles
    rule: BackoffRule
    isolation: Isolation
    host_address: str
    allocatable: Mapping[str, str]
    api_server: tuple[str, int]
    refresh_seconds: float

    def report(self, pod: Pod, type_: EventType, reason: str, message: str) -> None:
        """An event on the pod."""
        metadata = pod.metadata
        reference = Reference(
            api_version="v1", kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
        )
        self.recorder.record(reference, type_, reason, message)
