"""What the judge keeps of each watch event: compact, typed, and enough to judge the whole history again from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "aiplatform.example.com/"
GANG_LABEL = f"{PREFIX}gang"
MANAGED_LABEL = f"{PREFIX}managed"
RELEASE = f"{PREFIX}release"
GATE = f"{PREFIX}gang"
GPU = "nvidia.com/gpu"
FINISHED = frozenset({"Succeeded", "Failed"})

_sorted_json = msgspec.json.Encoder(order="sorted")


class Record(msgspec.Struct, kw_only=True, tag_field="kind"):
    """One event of one watch; `seconds` is the judge's own clock, `version` the API server's order."""

    event: str
    version: int
    seconds: float


class NamespaceRecord(Record, tag="namespace"):
    name: str
    managed: bool


class NodeRecord(Record, tag="node"):
    name: str
    gpus: int


class GangRecord(Record, tag="gang"):
    namespace: str
    name: str
    uid: str
    identity: str = ""
    minimum: int = 0
    phase: str = ""
    epoch: str = ""
    plan: dict[str, str] = {}
    """Slot ranges by node, as they stand in the object."""
    reason: str = ""
    message: str = ""
    bound: int | None = None


class PodRecord(Record, tag="pod"):
    namespace: str
    name: str
    uid: str
    gang: str = ""
    minimum: int = 0
    keep_broken: bool = False
    asks: bool = False
    mirror: bool = False
    gpus: int = 0
    gates: list[str] = []
    release: str = ""
    node: str = ""
    phase: str = ""
    deleting: bool = False
    digest: str = ""
    """Of everything that only the pod's owner may change."""

    @property
    def gang_name(self) -> str:
        """Its Gang object: that of its job for a pod that Muster has made for one, else that of its label."""
        return self.gang if self.release.startswith("v1.job-") else f"pods-{self.gang}"


class Gap(Record, tag="gap"):
    """The watch could not be resumed; if anything has changed meanwhile, how is unknown, and no verdict is clean."""

    resource: str
    changed: bool = True


History = NamespaceRecord | NodeRecord | GangRecord | PodRecord | Gap


def namespace_record(event: str, seconds: float, item: dict[str, Any]) -> NamespaceRecord:
    metadata = item["metadata"]
    labels = metadata.get("labels") or {}
    return NamespaceRecord(
        event=event,
        version=int(metadata["resourceVersion"]),
        seconds=seconds,
        name=metadata["name"],
        managed=labels.get(MANAGED_LABEL) == "true",
    )


def node_record(event: str, seconds: float, item: dict[str, Any]) -> NodeRecord:
    metadata = item["metadata"]
    status = item.get("status") or {}
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    return NodeRecord(
        event=event,
        version=int(metadata["resourceVersion"]),
        seconds=seconds,
        name=metadata["name"],
        gpus=_whole(allocatable.get(GPU)),
    )


def gang_record(event: str, seconds: float, item: dict[str, Any]) -> GangRecord:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    plan: dict[str, str] = {}
    for run in status.get("plan") or []:
        known = plan.get(run["node"])
        plan[run["node"]] = f"{known},{run['slots']}" if known else run["slots"]
    return GangRecord(
        event=event,
        version=int(metadata["resourceVersion"]),
        seconds=seconds,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        identity=spec.get("id", ""),
        minimum=spec.get("minMembers") or spec.get("members") or 0,
        phase=status.get("phase", ""),
        epoch=status.get("epoch", ""),
        plan=plan,
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        bound=status.get("bound"),
    )


def pod_record(event: str, seconds: float, item: dict[str, Any]) -> PodRecord:
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    gpus, mentioned = _gpus_of(spec)
    gang = labels.get(GANG_LABEL, "")
    size = _whole(annotations.get(f"{PREFIX}gang-size"))
    return PodRecord(
        event=event,
        version=int(metadata["resourceVersion"]),
        seconds=seconds,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        gang=gang,
        minimum=_whole(annotations.get(f"{PREFIX}gang-min")) or size,
        keep_broken=annotations.get(f"{PREFIX}on-broken") == "keep",
        asks=mentioned or bool(gang),
        mirror="kubernetes.io/config.mirror" in annotations,
        gpus=gpus,
        gates=[gate["name"] for gate in spec.get("schedulingGates") or []],
        release=annotations.get(RELEASE, ""),
        node=spec.get("nodeName") or "",
        phase=status.get("phase", ""),
        deleting="deletionTimestamp" in metadata,
        digest=_digest(metadata, annotations, spec),
    )


def write_history(path: Path, history: list[History]) -> None:
    """One JSON line a record, so that a history can be read by eye, cut, and judged again."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        file.writelines(encode(record) + b"\n" for record in history)


def read_history(path: Path) -> Iterator[History]:
    decode = msgspec.json.Decoder(History).decode
    with path.open("rb") as file:
        for line in file:
            yield decode(line)


def _gpus_of(spec: dict[str, Any]) -> tuple[int, bool]:
    running, mentioned = 0, False
    for container in spec.get("containers") or []:
        amount = _asked(container)
        mentioned |= amount is not None
        running += amount or 0
    starting = 0
    for container in spec.get("initContainers") or []:
        amount = _asked(container)
        mentioned |= amount is not None
        starting = max(starting, amount or 0)
    return max(running, starting), mentioned


def _asked(container: dict[str, Any]) -> int | None:
    resources = container.get("resources") or {}
    for part in ("requests", "limits"):
        amounts = resources.get(part) or {}
        if GPU in amounts:
            return _whole(amounts[GPU])
    return None


def _whole(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def _digest(metadata: dict[str, Any], annotations: dict[str, str], spec: dict[str, Any]) -> str:
    theirs = {key: value for key, value in annotations.items() if key != RELEASE}
    rest = {key: value for key, value in spec.items() if key not in ("nodeName", "schedulingGates")}
    gates = [gate["name"] for gate in spec.get("schedulingGates") or [] if gate["name"] != GATE]
    owned = [metadata.get("labels"), metadata.get("ownerReferences"), metadata.get("finalizers")]
    text = _sorted_json.encode([owned, theirs, rest, gates])
    return hashlib.blake2b(text, digest_size=8).hexdigest()
