"""What makes a pod Muster's business, what it asks for, and which pods are alike enough to swap places."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import msgspec

from muster_api.names import (
    GANG_LABEL,
    GANG_MIN_ANNOTATION,
    GANG_SIZE_ANNOTATION,
    GATE,
    MIRROR_ANNOTATION,
    PRIORITY_ANNOTATION,
    RELEASE_ANNOTATION,
)
from muster_api.objects import Container, NodeAffinity, Pod
from muster_api.priorities import NORMAL, PriorityError, parse_priority, priority_of_class
from muster_api.quantities import resource_units
from muster_api.tickets import names_job

LARGEST_GANG = 100_000


class MembershipError(ValueError):
    """A pod's labels or annotations contradict each other; `field` says where, the message what would be accepted."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def asks_for(pod: Pod, resources: Collection[str]) -> bool:
    """Whether any container requests or limits one of these resources, counted as kube-scheduler does for extenders."""
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        if any(name in container.resources.requests or name in container.resources.limits for name in resources):
            return True
    return False


def is_mirror(pod: Pod) -> bool:
    """Whether a kubelet made it from a file: nobody can gate, refuse or release it."""
    return MIRROR_ANNOTATION in pod.metadata.annotations


def needs_gate(pod: Pod, gpu_resources: Collection[str]) -> bool:
    """Whether this pod of a managed namespace is released by Muster: it asks for a GPU, or is a member of a gang."""
    if is_mirror(pod) or pod.spec.scheduling_group is not None:
        return False
    return GANG_LABEL in pod.metadata.labels or asks_for(pod, gpu_resources)


def is_gated(pod: Pod) -> bool:
    """Whether our own gate still holds it."""
    return any(gate.name == GATE for gate in pod.spec.scheduling_gates)


def foreign_gates(pod: Pod) -> list[str]:
    """Gates that others put there; Muster releases nothing while one is left and never removes them."""
    return [gate.name for gate in pod.spec.scheduling_gates if gate.name != GATE]


def gang_size(pod: Pod) -> int:
    """How many members its gang has; raises MembershipError."""
    return count_annotation(pod, GANG_SIZE_ANNOTATION)


def gang_minimum(pod: Pod) -> int:
    """How many members its gang needs to start, the whole size unless said otherwise; raises MembershipError."""
    size = gang_size(pod)
    if GANG_MIN_ANNOTATION not in pod.metadata.annotations:
        return size
    minimum = count_annotation(pod, GANG_MIN_ANNOTATION)
    if minimum > size:
        raise MembershipError(_path(GANG_MIN_ANNOTATION), f"{minimum} is more than the gang size of {size}")
    return minimum


def count_annotation(pod: Pod, annotation: str) -> int:
    """A number of members as an annotation says it; raises MembershipError."""
    text = pod.metadata.annotations.get(annotation)
    accepted = f"a whole number from 1 to {LARGEST_GANG}"
    if text is None:
        raise MembershipError(_path(annotation), f"required with the label {GANG_LABEL}; write {accepted}")
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= LARGEST_GANG:
        raise MembershipError(_path(annotation), f"{text[:40]!r} is not {accepted}")
    return int(text)


def pod_priority(pod: Pod, queue_default: int | None = None) -> int:
    """Priority 0 to 100: its annotation, else our class, else its queue's, else normal; nonsense counts as unsaid."""
    try:
        return parse_priority(pod.metadata.annotations[PRIORITY_ANNOTATION])
    except (KeyError, PriorityError):
        by_class = priority_of_class(pod.spec.priority_class_name)
    if by_class is not None:
        return by_class
    return NORMAL if queue_default is None else queue_default


def demand(pod: Pod) -> dict[str, int]:
    """What the scheduler sets aside for the pod, in planners' units, the pod itself counted as one of "pods".

    Sidecars (init containers that restart) run beside what follows them; other init containers run alone.
    Raises QuantityError.
    """
    running: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.init_containers:
        asked = _requests(container)
        if container.restart_policy == "Always":
            _add(running, asked)
            _raise_to(peak, running)
        else:
            _raise_to(peak, _sum(running, asked))
    for container in pod.spec.containers:
        _add(running, _requests(container))
    _raise_to(peak, running)
    if pod.spec.resources is not None:
        _raise_to(peak, _units(pod.spec.resources.requests))
    _add(peak, _units(pod.spec.overhead))
    peak["pods"] = 1
    return {name: amount for name, amount in peak.items() if amount}


def shape_of(pod: Pod) -> str:
    """A short hash of all that decides where the pod may go: members of one shape can take each other's slots."""
    deciding = (
        sorted(demand(pod).items()),
        sorted(pod.spec.node_selector.items()),
        unpinned_affinity(pod),
        pod.spec.tolerations,
    )
    return hashlib.blake2b(msgspec.json.encode(deciding), digest_size=16).hexdigest()


def unpinned_affinity(pod: Pod) -> NodeAffinity | None:
    """Where the pod's kind may go: the pin that a job's pod is born with says only where this one's slot is."""
    is_pinned = names_job(pod.metadata.annotations.get(RELEASE_ANNOTATION, ""))
    return None if is_pinned or pod.spec.affinity is None else pod.spec.affinity.node_affinity


def unsupported_constraint(pod: Pod) -> str | None:
    """The first constraint that the planner does not model, as the field's path; None when it models all."""
    spec = pod.spec
    found: Iterable[tuple[bool, str]] = (
        (any(port.host_port for c in spec.containers for port in c.ports), "spec.containers[].ports[].hostPort"),
        (_required(spec.affinity and spec.affinity.pod_affinity), "spec.affinity.podAffinity.required"),
        (_required(spec.affinity and spec.affinity.pod_anti_affinity), "spec.affinity.podAntiAffinity.required"),
        (
            any(c.when_unsatisfiable == "DoNotSchedule" for c in spec.topology_spread_constraints),
            "spec.topologySpreadConstraints (DoNotSchedule)",
        ),
        (bool(spec.resource_claims), "spec.resourceClaims"),
    )
    return next((path for present, path in found if present), None)


def _required(affinity: object) -> bool:
    return bool(getattr(affinity, "required", ()))


def _path(annotation: str) -> str:
    return f"metadata.annotations[{annotation}]"


def _requests(container: Container) -> dict[str, int]:
    return _units({**container.resources.limits, **container.resources.requests})


def _units(quantities: dict[str, str]) -> dict[str, int]:
    return {name: resource_units(name, text) for name, text in quantities.items()}


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _sum(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    total = dict(first)
    _add(total, second)
    return total


def _raise_to(peak: dict[str, int], amounts: dict[str, int]) -> None:
    for name, amount in amounts.items():
        peak[name] = max(peak.get(name, 0), amount)
