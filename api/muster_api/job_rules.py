"""The rules for what users write, all of them, so that one answer names every error; the CRDs hold most of them too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from muster_api.field_errors import FieldError, quoted
from muster_api.jobs import AIJob, AIJobQueue, ComputeCluster, Execution, GPUWorkload, JobResources
from muster_api.membership import LARGEST_GANG
from muster_api.names import JOB_VARIABLES
from muster_api.quantities import QuantityError, parse_quantity

LONGEST_JOB_NAME: Final = 50
"""The rest of a host name's 63 characters is for the attempt and the ordinal."""

LARGEST_CONFIG: Final = 64 << 10
LONGEST_SECONDS: Final = 365 * 86400
MOST_DEVICES: Final = "1000000"
MOST_OF_ANYTHING: Final = "1P"
"""Of one member: far beyond any machine, and the devices of the largest gang can still be counted in 63 bits."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUEUE_NAME: Final = re.compile(_LABEL)
_CLUSTER_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED: Final = re.compile(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_WHITE_SPACE: Final = re.compile(r"\s")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

Errors = Iterator[FieldError]


def validate_job(job: AIJob) -> list[FieldError]:
    """Everything wrong with an AIJob."""
    return [*_job_name(job.metadata.name), *_job_numbers(job), *_job_image(job), *_job_gang(job), *_job_places(job)]


def unused_variables(job: AIJob) -> list[str]:
    """A warning for each variable that Muster sets itself, since the one written here is dropped."""
    named = ((index, variable.name) for index, variable in enumerate(job.spec.env) if variable.name in JOB_VARIABLES)
    return [f"spec.env[{index}].name: {name} is set by Muster and yours is not used" for index, name in named]


def no_warnings(_: Any) -> list[str]:
    """Where all that passes is used."""
    return []


def validate_queue(queue: AIJobQueue) -> list[FieldError]:
    """Everything wrong with an AIJobQueue."""
    spec = queue.spec
    return [
        *_named(queue.metadata.name, _QUEUE_NAME, "metadata.name", "lower-case letters, digits and '-', at most 63"),
        *_within("spec.maxConcurrency", spec.max_concurrency, 0, 1_000_000),
        *_resources(spec.default_resources, "spec.defaultResources"),
    ]


def validate_cluster(cluster: ComputeCluster) -> list[FieldError]:
    """Everything wrong with a ComputeCluster."""
    spec = cluster.spec
    errors = [*_node_selector(spec.node_selector)]
    if spec.capacity is not None:
        errors += _within("spec.capacity.maxJobs", spec.capacity.max_jobs, 0, 1_000_000)
        errors += _within("spec.capacity.maxGPUs", spec.capacity.max_gpus, 0, 10_000_000)
    return errors


def validate_workload(workload: GPUWorkload) -> list[FieldError]:
    """Everything wrong with a GPUWorkload."""
    spec = workload.spec
    errors = [*_job_name(workload.metadata.name)]
    if not 0 < len(spec.model_name) <= 253:
        errors.append(FieldError("spec.modelName", "required; at most 253 characters"))
    errors += _within("spec.gpuCount", spec.gpu_count, 1, 1024)
    errors += _within("spec.retryPolicy.maxRetries", spec.retry_policy.max_retries, 0, 100)
    errors += _within("spec.retryPolicy.backoffSeconds", spec.retry_policy.backoff_seconds, 0, 3600)
    return errors


class Rules(msgspec.Struct, frozen=True):
    """How objects of one kind are read and judged, and what is told of those that pass."""

    type: type[msgspec.Struct]
    validate: Callable[[Any], list[FieldError]]
    warn: Callable[[Any], list[str]] = no_warnings


RULES: Final[Mapping[str, Rules]] = {
    "AIJob": Rules(AIJob, validate_job, unused_variables),
    "AIJobQueue": Rules(AIJobQueue, validate_queue),
    "ComputeCluster": Rules(ComputeCluster, validate_cluster),
    "GPUWorkload": Rules(GPUWorkload, validate_workload),
}


def _job_name(name: str) -> Errors:
    # With generateName there may be no name yet; the API server makes one of it and asks the schema's own rule.
    if name and (len(name) > LONGEST_JOB_NAME or not _HOST_NAME.fullmatch(name)):
        accepted = f"at most {LONGEST_JOB_NAME} lower-case letters, digits and '-', beginning with a letter"
        yield FieldError("metadata.name", f"{quoted(name)} cannot become a host name; write {accepted}")


def _job_numbers(job: AIJob) -> Errors:
    spec, retry = job.spec, job.spec.retry_policy
    yield from _within("spec.priority", spec.priority, 0, 100)
    yield from _within("spec.retryPolicy.maxRetries", retry.max_retries, 0, 100)
    yield from _within("spec.retryPolicy.backoffMultiplier", retry.backoff_multiplier, 1, 10)
    yield from _within("spec.retryPolicy.backoffSeconds", retry.backoff_seconds, 0, 3600)
    yield from _within("spec.timeoutSeconds", spec.timeout_seconds, 1, LONGEST_SECONDS)
    yield from _within("spec.queueTimeoutSeconds", spec.queue_timeout_seconds, 1, LONGEST_SECONDS)
    yield from _within("spec.ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, 0, LONGEST_SECONDS)


def _job_image(job: AIJob) -> Errors:
    image = job.spec.image
    if not image and job.spec.execution is Execution.POD:
        yield FieldError("spec.image", "required with execution: pod; write the name of a container image")
    if len(image) > 1024 or _WHITE_SPACE.search(image):
        yield FieldError("spec.image", f"{quoted(image)} is no container image's name; leave out white space")
    names = [variable.name for variable in job.spec.env]
    for index, name in enumerate(names):
        if not name or "=" in name:
            yield FieldError(f"spec.env[{index}].name", f"{quoted(name)} is no variable's name; leave out '='")
        elif name in names[:index]:
            yield FieldError(f"spec.env[{index}].name", f"{quoted(name)} stands there twice; leave one out")
    size = len(msgspec.json.encode(job.spec.config))
    if size > LARGEST_CONFIG:
        yield FieldError("spec.config", f"{size} bytes are too many; at most {LARGEST_CONFIG}, put data on a volume")


def _job_gang(job: AIJob) -> Errors:
    gang = job.spec.gang
    yield from _within("spec.gang.minMembers", gang.min_members, 1, LARGEST_GANG)
    yield from _within("spec.gang.members", gang.members, 1, LARGEST_GANG)
    if gang.enabled and gang.min_members is None:
        yield FieldError("spec.gang.minMembers", "required with enabled: true; how many have to start together")
    if gang.enabled and job.spec.execution is Execution.POOL:
        yield FieldError("spec.gang.enabled", "a gang needs execution: pod; pool workers take jobs one by one")
    if gang.members is not None and (gang.min_members is None or gang.min_members > gang.members):
        yield FieldError("spec.gang.members", f"{gang.members} must come with minMembers and not be less than it")


def _job_places(job: AIJob) -> Errors:
    spec = job.spec
    accepted = "lower-case letters, digits and '-', at most 63"
    yield from _named(spec.queue, _QUEUE_NAME, "spec.queue", f"the name of an AIJobQueue: {accepted}", needed=True)
    yield from _named(spec.cluster, _CLUSTER_NAME, "spec.cluster", "the name of a ComputeCluster")
    yield from _resources(spec.resources, "spec.resources")


def _named(text: str, pattern: re.Pattern[str], path: str, accepted: str, *, needed: bool = False) -> Errors:
    if (needed or text) and (len(text) > 253 or not pattern.fullmatch(text)):
        yield FieldError(path, f"{quoted(text)} is no name; write {accepted}")


def _within(path: str, value: float | None, lowest: int, highest: int) -> Errors:
    if value is not None and not lowest <= value <= highest:
        yield FieldError(path, f"{quoted(value)} is out of range; write a number from {lowest} to {highest}")


def _node_selector(selector: Mapping[str, str]) -> Errors:
    for key, value in selector.items():
        path = f"spec.nodeSelector[{key[:80]}]"
        if not _QUALIFIED.fullmatch(key):
            yield FieldError(path, "is no label's name; write letters, digits, '-', '_' and '.'")
        if not _LABEL_VALUE.fullmatch(value):
            yield FieldError(path, f"{quoted(value)} is no label's value; write letters, digits, '-', '_' and '.'")


def _resources(resources: JobResources | None, path: str) -> Errors:
    if resources is None:
        return
    yield from _amounts(resources.requests, f"{path}.requests")
    yield from _amounts(resources.limits, f"{path}.limits")
    for name in sorted(resources.requests.keys() & resources.limits.keys()):
        requested, limit = _amount(resources.requests[name]), _amount(resources.limits[name])
        if requested is None or limit is None:
            continue
        if requested > limit or ("/" in name and requested != limit):
            relation = "equal to" if "/" in name else "at most"
            yield FieldError(
                f"{path}.requests[{name[:80]}]", f"{requested} must be {relation} the limit, which is {limit}"
            )


def _amounts(amounts: Mapping[str, str | int], path: str) -> Errors:
    for name, text in amounts.items():
        where, amount = f"{path}[{name[:80]}]", _amount(text)
        if not _QUALIFIED.fullmatch(name):
            yield FieldError(where, "is no resource's name; write for example cpu, memory or nvidia.com/gpu")
        if amount is None or amount < 0:
            yield FieldError(where, f"{quoted(text)} is no quantity; write for example 500m, 2, 1.5Gi or 1e3")
        elif "/" in name and amount != amount.to_integral_value():
            yield FieldError(where, f"{quoted(text)} cannot be shared out; write a whole number")
        elif amount > parse_quantity(most := MOST_DEVICES if "/" in name else MOST_OF_ANYTHING):
            yield FieldError(where, f"{quoted(text)} is too much; write at most {most}")


def _amount(text: str | int) -> Decimal | None:
    try:
        return parse_quantity(str(text))
    except QuantityError:
        return None
