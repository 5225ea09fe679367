"""What a user may not ask for in a pod of a managed namespace, as one list with a path and a way out for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Final

from muster_api.field_errors import FieldError, quoted
from muster_api.membership import (
    MembershipError,
    asks_for,
    count_annotation,
    gang_minimum,
    is_mirror,
    needs_gate,
)
from muster_api.names import (
    GANG_LABEL,
    GANG_MIN_ANNOTATION,
    GANG_SIZE_ANNOTATION,
    MARKER_QUANTITY,
    MAX_RUNTIME_ANNOTATION,
    ON_BROKEN_ANNOTATION,
    PIN_ANNOTATION,
    PREFIX,
    PRIORITY_ANNOTATION,
    QUEUE_LABEL,
    RELEASE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    TOPOLOGY_KEY_ANNOTATION,
    TRACE_ANNOTATION,
)
from muster_api.objects import Container, Pod
from muster_api.priorities import PriorityError, parse_priority
from muster_webhook.pods import MARKERS, Admission, is_born_released

LONGEST_NAME: Final = 63
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_QUEUE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DURATION: Final = re.compile(r"[1-9][0-9]{0,8}s?|(?=[0-9])([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?")
_SWITCHES: Final = {PIN_ANNOTATION: ("allowed",), ON_BROKEN_ANNOTATION: ("evict", "keep")}

KNOWN_ANNOTATIONS: Final = frozenset(
    {
        GANG_SIZE_ANNOTATION,
        GANG_MIN_ANNOTATION,
        PRIORITY_ANNOTATION,
        MAX_RUNTIME_ANNOTATION,
        TOPOLOGY_ANNOTATION,
        TOPOLOGY_KEY_ANNOTATION,
        PIN_ANNOTATION,
        ON_BROKEN_ANNOTATION,
        RELEASE_ANNOTATION,
        TRACE_ANNOTATION,
    }
)

Rule = Callable[[Pod, Admission], Iterator[FieldError]]


def validate_pod(pod: Pod, admission: Admission) -> list[FieldError]:
    """Everything that is wrong with it; mirror pods and those that Kubernetes groups itself are left alone."""
    if is_mirror(pod) or pod.spec.scheduling_group is not None:
        return []
    rules = [_placement, _ticket, _claims, _gang]
    if needs_gate(pod, admission.gpu_resources):
        rules += [_scheduler, _queue, _priority, _switches, _runtime, _markers]
    return [error for rule in rules for error in rule(pod, admission)]


def misspelt_annotations(pod: Pod) -> list[str]:
    """A warning for each annotation under our prefix that means nothing: it would be ignored in silence."""
    unknown = sorted(key for key in pod.metadata.annotations if key.startswith(PREFIX) and key not in KNOWN_ANNOTATIONS)
    known = ", ".join(sorted(name.removeprefix(PREFIX) for name in KNOWN_ANNOTATIONS - {RELEASE_ANNOTATION}))
    return [f"{_annotation(key)[:200]}: means nothing to Muster; known are {known}" for key in unknown[:10]]


def _placement(pod: Pod, _: Admission) -> Iterator[FieldError]:
    if pod.spec.node_name:
        yield FieldError("spec.nodeName", "leave it out; to choose nodes, write spec.nodeSelector or nodeAffinity")


def _scheduler(pod: Pod, _: Admission) -> Iterator[FieldError]:
    if pod.spec.scheduler_name not in ("", "default-scheduler"):
        yield FieldError(
            "spec.schedulerName",
            f"{quoted(pod.spec.scheduler_name)} does not ask Muster; leave it out, or write 'default-scheduler'",
        )


def _ticket(pod: Pod, admission: Admission) -> Iterator[FieldError]:
    if RELEASE_ANNOTATION in pod.metadata.annotations and not is_born_released(pod, admission.username):
        yield FieldError(_annotation(RELEASE_ANNOTATION), "leave it out; Muster writes it when the pod's turn has come")


def _claims(pod: Pod, admission: Admission) -> Iterator[FieldError]:
    if pod.spec.resource_claims and not asks_for(pod, admission.gpu_resources):
        resources = " or ".join(admission.gpu_resources)
        yield FieldError(
            "spec.resourceClaims",
            f"Muster cannot plan devices that are only claimed; ask for {resources} in a container's resources.limits",
        )


def _gang(pod: Pod, _: Admission) -> Iterator[FieldError]:
    label = pod.metadata.labels.get(GANG_LABEL)
    if label is None:
        for name in (GANG_SIZE_ANNOTATION, GANG_MIN_ANNOTATION):
            if name in pod.metadata.annotations:
                yield FieldError(_label(GANG_LABEL), f"required with the annotation {name}; the same for all members")
        return
    if not _is_name(_OBJECT_NAME, label):
        accepted = "lower-case letters, digits, '-' and '.', at most 63, beginning and ending with a letter or digit"
        yield FieldError(_label(GANG_LABEL), f"{quoted(label)} is no gang's name; write {accepted}")
    yield from _gang_numbers(pod)


def _gang_numbers(pod: Pod) -> Iterator[FieldError]:
    found: dict[str, str] = {}
    checks: list[Callable[[], int]] = [lambda: count_annotation(pod, GANG_SIZE_ANNOTATION)]
    if GANG_MIN_ANNOTATION in pod.metadata.annotations:
        checks += [lambda: count_annotation(pod, GANG_MIN_ANNOTATION), lambda: gang_minimum(pod)]
    for check in checks:
        try:
            check()
        except MembershipError as error:
            found.setdefault(error.field, error.message)
    for field, message in found.items():
        yield FieldError(field, message)


def _queue(pod: Pod, _: Admission) -> Iterator[FieldError]:
    name = pod.metadata.labels.get(QUEUE_LABEL)
    if name is not None and not _is_name(_QUEUE_NAME, name):
        accepted = "the name of an AIJobQueue: lower-case letters, digits and '-', at most 63"
        yield FieldError(_label(QUEUE_LABEL), f"{quoted(name)} is no queue's name; write {accepted}")


def _priority(pod: Pod, _: Admission) -> Iterator[FieldError]:
    text = pod.metadata.annotations.get(PRIORITY_ANNOTATION)
    if text is None:
        return
    try:
        parse_priority(text)
    except PriorityError as error:
        yield FieldError(_annotation(PRIORITY_ANNOTATION), str(error))


def _switches(pod: Pod, _: Admission) -> Iterator[FieldError]:
    for name, accepted in _SWITCHES.items():
        value = pod.metadata.annotations.get(name)
        if value is not None and value not in accepted:
            yield FieldError(_annotation(name), f"{quoted(value)} means nothing; write {' or '.join(accepted)}")


def _runtime(pod: Pod, _: Admission) -> Iterator[FieldError]:
    text = pod.metadata.annotations.get(MAX_RUNTIME_ANNOTATION)
    if text is not None and not _DURATION.fullmatch(text):
        yield FieldError(
            _annotation(MAX_RUNTIME_ANNOTATION), f"{quoted(text)} is no duration; write seconds, or like 2h30m"
        )


def _markers(pod: Pod, _: Admission) -> Iterator[FieldError]:
    yield from _marker_values(pod.spec.containers, "containers")
    yield from _marker_values(pod.spec.init_containers, "initContainers")


def _marker_values(containers: Collection[Container], field: str) -> Iterator[FieldError]:
    for index, container in enumerate(containers):
        asked = (("requests", container.resources.requests), ("limits", container.resources.limits))
        for part, amounts in asked:
            for name in MARKERS:
                if amounts.get(name, MARKER_QUANTITY) != MARKER_QUANTITY:
                    path = f"spec.{field}[{index}].resources.{part}[{name}]"
                    yield FieldError(path, f"{quoted(amounts[name])} is not what Muster puts there; leave it out")


def _is_name(pattern: re.Pattern[str], text: str) -> bool:
    return len(text) <= LONGEST_NAME and pattern.fullmatch(text) is not None


def _annotation(name: str) -> str:
    return f"metadata.annotations[{name}]"


def _label(name: str) -> str:
    return f"metadata.labels[{name}]"
