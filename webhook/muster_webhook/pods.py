"""What a pod of a managed namespace gets at its creation: gate, markers, priority class and queue, where missing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from muster_api.membership import needs_gate, pod_priority
from muster_api.names import (
    BIND_MARKER,
    CONTROLLER_USER,
    DEFAULT_QUEUE,
    GATE,
    GPU_RESOURCE,
    MARKER_QUANTITY,
    MEMBER_MARKER,
    QUEUE_LABEL,
    RELEASE_ANNOTATION,
)
from muster_api.objects import Pod
from muster_api.priorities import CLASS_VALUES, class_for
from muster_webhook.patches import Operation, add_entries, pointer

MARKERS: Final = (MEMBER_MARKER, BIND_MARKER)
NEVER: Final = "Never"


class Admission(msgspec.Struct, frozen=True):
    """What decides besides the pod itself."""

    gpu_resources: Collection[str] = (GPU_RESOURCE,)
    username: str = ""
    first_has_resources: bool = True
    """Whether the first container has a `resources` object that members can be added to."""


def is_born_released(pod: Pod, username: str) -> bool:
    """Whether the controller made it with its ticket, so that a gate would only be in the way."""
    return username == CONTROLLER_USER and RELEASE_ANNOTATION in pod.metadata.annotations


def mutate_pod(pod: Pod, admission: Admission) -> list[Operation]:
    """The patch that makes it Muster's to release; empty for pods that are not, and for those that have all of it."""
    if not needs_gate(pod, admission.gpu_resources):
        return []
    return [
        *_gate(pod, admission),
        *_markers(pod, admission),
        *_priority(pod),
        *_queue(pod),
    ]


def _gate(pod: Pod, admission: Admission) -> list[Operation]:
    gates = pod.spec.scheduling_gates
    if is_born_released(pod, admission.username) or any(gate.name == GATE for gate in gates):
        return []
    gate = {"name": GATE}
    return [Operation("/spec/schedulingGates/-", gate) if gates else Operation("/spec/schedulingGates", [gate])]


def _markers(pod: Pod, admission: Admission) -> list[Operation]:
    """On the first container; another webhook may since have put one of its own before it, so all are looked at."""
    if not pod.spec.containers:
        return []
    asked = [container.resources for container in (*pod.spec.containers, *pod.spec.init_containers)]
    missing = [name for name in MARKERS if not any(name in each.requests and name in each.limits for each in asked)]
    if not missing:
        return []
    first, parent = asked[0], ("spec", "containers", 0, "resources")
    operations: list[Operation] = []
    if not admission.first_has_resources:
        operations.append(Operation(pointer(*parent), {}))
    operations += add_entries((*parent, "requests"), bool(first.requests), _named(missing, first.requests))
    operations += add_entries((*parent, "limits"), bool(first.limits), _named(missing, first.limits))
    return operations


def _named(names: list[str], present: Collection[str]) -> dict[str, str]:
    return dict.fromkeys((name for name in names if name not in present), MARKER_QUANTITY)


def _priority(pod: Pod) -> list[Operation]:
    """All three fields together: the API server's own defaults for two of them were filled in before any webhook."""
    name = class_for(pod_priority(pod))
    spec = pod.spec
    wanted = (
        ("priorityClassName", spec.priority_class_name, name),
        ("priority", spec.priority, CLASS_VALUES[name]),
        ("preemptionPolicy", spec.preemption_policy, NEVER),
    )
    return [Operation(pointer("spec", field), value) for field, present, value in wanted if present != value]


def _queue(pod: Pod) -> list[Operation]:
    labels = pod.metadata.labels
    if QUEUE_LABEL in labels:
        return []
    return add_entries(("metadata", "labels"), bool(labels), {QUEUE_LABEL: DEFAULT_QUEUE})
