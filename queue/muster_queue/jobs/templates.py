"""The pods of a job: what all of them share is written once, and each is those bytes with a few fields filled in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from muster_api.jobs import AIJob, AIJobQueue, ComputeCluster, JobResources
from muster_api.membership import demand, shape_of
from muster_api.names import (
    ATTEMPT_LABEL,
    BIND_MARKER,
    GANG_LABEL,
    GANG_MIN_ANNOTATION,
    GANG_SIZE_ANNOTATION,
    GROUP,
    JOB_LABEL,
    MAIN_CONTAINER,
    MARKER_QUANTITY,
    MEMBER_MARKER,
    ORDINAL_LABEL,
    QUEUE_LABEL,
    RELEASE_ANNOTATION,
    SIMULATE_PREFIX,
    TRACE_ANNOTATION,
    VERSION,
    job_gang_name,
)
from muster_api.objects import Pod
from muster_api.priorities import NORMAL, WORDS, class_for
from muster_api.quantities import LARGEST_INT64
from muster_queue.jobs.environment import Run, environment, trace_of

DEFAULT_REQUESTS: Final = {"cpu": "1", "memory": "1Gi"}
NODE_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
UNHEALTHY_SECONDS: Final = 300

FIELDS: Final = ("ordinal", "node", "ticket")
"""In which the pods of one attempt differ."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """What a job's members are like, whichever attempt they belong to."""

    job: AIJob
    shape: str
    example: Pod
    """A member as the planner sees it: without its pin."""
    members: int
    minimum: int
    gpus_each: int
    priority: int

    @property
    def gpus(self) -> int:
        """Of all members together."""
        return self.members * self.gpus_each


def template_of(
    job: AIJob, queue: AIJobQueue | None, cluster: ComputeCluster | None, gpu_resources: tuple[str, ...]
) -> JobTemplate:
    """Raises QuantityError where an amount cannot be read."""
    spec = job.spec
    asked = spec.resources or (queue.spec.default_resources if queue else None)
    selector = dict(cluster.spec.node_selector) if cluster else {}
    example = msgspec.convert(
        {
            "metadata": {"labels": {GANG_LABEL: job_gang_name(job.metadata.name)}},
            "spec": {
                "containers": [{"name": MAIN_CONTAINER, "resources": resources_of(asked)}],
                "nodeSelector": selector,
                "tolerations": _tolerations(),
            },
        },
        Pod,
    )
    gang = spec.gang
    minimum = (gang.min_members or 1) if gang.enabled else 1
    needs = demand(example)
    return JobTemplate(
        job=job,
        shape=shape_of(example),
        example=example,
        members=max(minimum, gang.members or minimum) if gang.enabled else 1,
        minimum=minimum,
        gpus_each=min(LARGEST_INT64, sum(needs.get(name, 0) for name in gpu_resources)),
        priority=priority_of(job, queue),
    )


def priority_of(job: AIJob, queue: AIJobQueue | None) -> int:
    """Its own, else its queue's, else normal."""
    if job.spec.priority is not None:
        return job.spec.priority
    return WORDS[queue.spec.priority_class] if queue is not None else NORMAL


def resources_of(asked: JobResources | None) -> Manifest:
    """A container's resources, with the markers; devices are limited to what is requested, as Kubernetes demands."""
    requests = {name: str(amount) for name, amount in (asked.requests if asked else {}).items()}
    limits = {name: str(amount) for name, amount in (asked.limits if asked else {}).items()}
    if not requests and not limits:
        requests = dict(DEFAULT_REQUESTS)
    devices = {name: amount for name, amount in {**requests, **limits}.items() if "/" in name}
    markers = dict.fromkeys((MEMBER_MARKER, BIND_MARKER), MARKER_QUANTITY)
    return {
        "requests": {**limits, **requests, **devices, **markers},
        "limits": {**limits, **devices, **markers},
    }


class PodPress:
    """Prints the pods of one attempt. Names, nodes and tickets need no escaping; all else is encoded by msgspec."""

    def __init__(self, template: JobTemplate, run: Run) -> None:
        tokens = _tokens(template, run)
        self._parts = _cut(msgspec.json.encode(_manifest(template, run, tokens)), tokens)
        self._run = run

    def name(self, ordinal: int) -> str:
        return self._run.pod_name(ordinal)

    def body(self, ordinal: int, node: str, ticket: str) -> bytes:
        """The pod with this ordinal, pinned to its node and born with its ticket."""
        values = {"ordinal": str(ordinal).encode(), "node": node.encode(), "ticket": ticket.encode(), "": b""}
        return b"".join(literal + values[name] for literal, name in self._parts)


def service_body(job: AIJob) -> Manifest:
    """Gives the members of a job names; without a selector their addresses are published by nobody but us."""
    name = job.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {JOB_LABEL: name}, "ownerReferences": [owner_reference(job)]},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True},
    }


def owner_reference(job: AIJob) -> Manifest:
    """What is made for a job goes with it."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "AIJob",
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _tokens(template: JobTemplate, run: Run) -> dict[str, str]:
    """What stands in the common text for each field: users may write any character, but no text with its own digest."""
    text = msgspec.json.encode(_manifest(template, run, {name: name for name in FIELDS}))
    return {name: hashlib.blake2b(text, digest_size=16, person=name.encode()).hexdigest() for name in FIELDS}


def _manifest(template: JobTemplate, run: Run, tokens: dict[str, str]) -> Manifest:
    job, spec = template.job, template.job.spec
    name = f"{run.job}-{run.attempt}-{tokens['ordinal']}"
    container: Manifest = {
        "name": MAIN_CONTAINER,
        "image": spec.image,
        "env": environment(job, run, tokens["ordinal"]),
        "resources": resources_of_example(template),
    }
    container |= {"command": spec.command} if spec.command else {}
    container |= {"args": spec.args} if spec.args else {}
    handed_on = {key: value for key, value in job.metadata.annotations.items() if key.startswith(SIMULATE_PREFIX)}
    trace = trace_of(job)
    handed_on |= {TRACE_ANNOTATION: trace} if trace else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                GANG_LABEL: job_gang_name(run.job),
                QUEUE_LABEL: spec.queue,
                JOB_LABEL: run.job,
                ATTEMPT_LABEL: str(run.attempt),
                ORDINAL_LABEL: tokens["ordinal"],
            },
            "annotations": {
                **handed_on,
                GANG_SIZE_ANNOTATION: str(template.members),
                GANG_MIN_ANNOTATION: str(template.minimum),
                RELEASE_ANNOTATION: tokens["ticket"],
            },
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {
            "hostname": name,
            "subdomain": run.job,
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": class_for(template.priority),
            "nodeSelector": template.example.spec.node_selector,
            "affinity": _pin(tokens["node"]),
            "tolerations": _tolerations(),
            "containers": [container],
        },
    }


def resources_of_example(template: JobTemplate) -> Manifest:
    resources = template.example.spec.containers[0].resources
    return {"requests": resources.requests, "limits": resources.limits}


def _pin(node: str) -> Manifest:
    """One node by its name, which kube-scheduler resolves without looking at any other."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _tolerations() -> list[Manifest]:
    """Those that the API server would add: written down here, the shape of a pod is known before it exists."""
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNHEALTHY_SECONDS}
        for key in NODE_TAINTS
    ]


def _cut(text: bytes, tokens: dict[str, str]) -> list[tuple[bytes, str]]:
    """The text in pieces, each with the name of the field that follows it; the last has none."""
    pieces: list[tuple[bytes, str]] = [(text, "")]
    for name, token in tokens.items():
        cut: list[tuple[bytes, str]] = []
        for literal, field in pieces:
            *before, last = literal.split(token.encode())
            cut += [(piece, name) for piece in before]
            cut.append((last, field))
        pieces = cut
    return pieces
