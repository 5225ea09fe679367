"""What is kept of each pod: the few fields that decide about it, and nothing of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from muster_api.membership import asks_for, demand, is_gated, shape_of
from muster_api.names import BIND_MARKER, GANG_LABEL, MEMBER_MARKER, RELEASE_ANNOTATION, TRACE_ANNOTATION
from muster_api.objects import Pod
from muster_api.quantities import QuantityError
from muster_api.traces import read_traceparent


class PodRecord(msgspec.Struct, frozen=True, gc=False):
    """A pod as far as the extender is concerned."""

    uid: str
    namespace: str
    name: str
    node: str
    """Where it is bound, empty before."""
    ticket: str
    """The text of its release annotation, empty without one; nobody has verified it yet."""
    demand: dict[str, int] | None
    """GPUs by resource; None when its requests cannot be read."""
    shape: str
    is_candidate: bool
    """Whether it would be Muster's business in a managed namespace."""
    has_gang_label: bool
    is_held_at_bind: bool
    """Whether its bind call comes to the extender; without the marker the scheduler binds it by itself."""
    is_native_group: bool
    """Whether it belongs to Kubernetes' own gang scheduling, which is left alone."""
    is_gated: bool
    is_deleting: bool
    created: str
    trace: str | None = None
    """The context of the trace that its binding belongs to."""

    @property
    def is_bound(self) -> bool:
        return bool(self.node)

    def precedence(self) -> tuple[bool, str, str]:
        return _precedence(self.is_bound, self.created, self.uid)


def record_of(pod: Pod, resources: Collection[str], old: PodRecord | None = None) -> PodRecord:
    """Reads a pod; what cannot have changed since the old record is taken over from it."""
    metadata, spec = pod.metadata, pod.spec
    is_candidate = GANG_LABEL in metadata.labels or (old.is_candidate if old else _asks_for_us(pod, resources))
    return PodRecord(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        node=spec.node_name,
        ticket=metadata.annotations.get(RELEASE_ANNOTATION, ""),
        demand=old.demand if old else gpu_demand(pod, resources),
        # A gated pod may still be narrowed, which makes it another shape.
        shape=old.shape if old and not old.is_gated else _shape(pod) if is_candidate else "",
        is_candidate=is_candidate,
        has_gang_label=bool(metadata.labels.get(GANG_LABEL)),
        is_held_at_bind=old.is_held_at_bind if old else asks_for(pod, (BIND_MARKER,)),
        is_native_group=spec.scheduling_group is not None,
        is_gated=is_gated(pod),
        is_deleting=pod.is_deleting,
        created=metadata.creation_timestamp or "",
        trace=read_traceparent(metadata.annotations.get(TRACE_ANNOTATION)),
    )


def in_order(listed: Iterable[Pod]) -> list[Pod]:
    """The first complete list by precedence: slots go to whoever had them first, as far as that can still be told."""
    return sorted(listed, key=lambda pod: _precedence(pod.is_bound, pod.metadata.creation_timestamp, pod.metadata.uid))


def gpu_demand(pod: Pod, resources: Collection[str]) -> dict[str, int] | None:
    """How many GPUs of each kind the pod takes; None when its requests cannot be read."""
    if not asks_for(pod, resources):
        return {}
    try:
        asked = demand(pod)
    except QuantityError:
        return None
    return {resource: asked[resource] for resource in resources if resource in asked}


def _precedence(is_bound: bool, created: str | None, uid: str) -> tuple[bool, str, str]:
    """Who was first, as far as it can be told after a restart: bound ones, then the oldest, then by uid."""
    return not is_bound, created or "", uid


def _asks_for_us(pod: Pod, resources: Collection[str]) -> bool:
    return asks_for(pod, (*resources, MEMBER_MARKER))


def _shape(pod: Pod) -> str:
    try:
        return shape_of(pod)
    except QuantityError:
        return ""
