"""The addresses of a job's members, as the EndpointSlices that cluster DNS answers from; pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from typing import Final

import msgspec

from muster_api.jobs import AIJob
from muster_api.names import HEADLESS_LABEL, JOB_LABEL, SERVICE_NAME_LABEL, SLICE_MANAGER, SLICE_MANAGER_LABEL
from muster_api.objects import (
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    ObjectMeta,
    OwnerReference,
    TargetReference,
)
from muster_queue.jobs.templates import Manifest, owner_reference

SLICE_ROOM: Final = 100
"""Ordinals that share a slice: as many endpoints as Kubernetes puts into one itself. All but the largest gangs take one
write, and a pod that a large gang replaces rewrites and resends 100 endpoints instead of up to 1000."""

READY: Final = EndpointConditions(ready=True)
"""Always: peers look for each other long before they are ready, and a condition that moves costs a write each time."""


class MemberAddress(msgspec.Struct, frozen=True, gc=False):
    """Where one member can be reached; its pod's hostname is the pod's name."""

    ordinal: int
    pod: str
    uid: str
    node: str
    address: str


class Deed(StrEnum):
    """What has to be done to a slice."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `slice` as it should be, or the one to delete; `known` as it is now."""

    deed: Deed
    slice: EndpointSlice
    known: EndpointSlice | None = None


def slices_of(job: AIJob, members: Iterable[MemberAddress]) -> dict[str, EndpointSlice]:
    """By name, in the order of ordinals; addresses that Kubernetes refuses in a slice are left out."""
    chunks: dict[tuple[str, int], list[MemberAddress]] = {}
    for member in sorted(members, key=lambda member: (member.ordinal, member.pod)):
        family = family_of(member.address)
        if family:
            chunks.setdefault((family, member.ordinal // SLICE_ROOM), []).append(member)
    made = (_slice(job, family, chunk, members) for (family, chunk), members in chunks.items())
    return {slice_.metadata.name: slice_ for slice_ in made}


def changes(desired: Mapping[str, EndpointSlice], actual: Mapping[str, EndpointSlice]) -> Iterator[Change]:
    """What turns one into the other; what is right already is left alone, whoever wrote it."""
    for name, wanted in desired.items():
        known = actual.get(name)
        if known is None:
            yield Change(Deed.CREATE, wanted)
        elif known.address_type != wanted.address_type:
            # It cannot be changed: the slice is created anew once this one is gone.
            yield Change(Deed.DELETE, known, known)
        elif not _is_right(wanted, known):
            yield Change(Deed.REPLACE, wanted, known)
    for name, known in actual.items():
        if name not in desired:
            yield Change(Deed.DELETE, known, known)


def slice_body(job: AIJob, slice_: EndpointSlice, version: str = "") -> Manifest:
    """As it is written; a version makes it a compare-and-swap."""
    metadata = slice_.metadata
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": metadata.labels,
            "ownerReferences": [owner_reference(job)],
            **({"resourceVersion": version} if version else {}),
        },
        "addressType": slice_.address_type,
        "endpoints": slice_.endpoints,
        "ports": [],
    }


@functools.lru_cache(maxsize=4096)
def family_of(address: str) -> str:
    """The addressType of a slice that may have it; empty for what no slice may have.

    Process nodes have loopback addresses, whose names their agents resolve themselves.
    """
    try:
        read = ip_address(address)
    except ValueError:
        return ""
    if read.is_loopback or read.is_link_local or read.is_multicast or read.is_unspecified:
        return ""
    if isinstance(read, IPv4Address):
        return "IPv4"
    return "" if read.ipv4_mapped is not None or read.scope_id is not None else "IPv6"


def _slice(job: AIJob, family: str, chunk: int, members: list[MemberAddress]) -> EndpointSlice:
    name, namespace = job.metadata.name, job.metadata.namespace
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"{name}-{family.lower()}-{chunk}",
            namespace=namespace,
            labels={
                SERVICE_NAME_LABEL: name,
                SLICE_MANAGER_LABEL: SLICE_MANAGER,
                HEADLESS_LABEL: "",
                JOB_LABEL: name,
            },
            owner_references=(msgspec.convert(owner_reference(job), OwnerReference),),
        ),
        address_type=family,
        endpoints=tuple(_endpoint(namespace, member) for member in members),
    )


def _endpoint(namespace: str, member: MemberAddress) -> Endpoint:
    return Endpoint(
        addresses=(member.address,),
        conditions=READY,
        hostname=member.pod,
        node_name=member.node,
        target_ref=TargetReference(kind="Pod", namespace=namespace, name=member.pod, uid=member.uid),
    )


def _is_right(wanted: EndpointSlice, known: EndpointSlice) -> bool:
    """Labels of others beside ours are no reason to write."""
    return (
        known.endpoints == wanted.endpoints
        and not known.ports
        and known.metadata.owner_references == wanted.metadata.owner_references
        and wanted.metadata.labels.items() <= known.metadata.labels.items()
    )
