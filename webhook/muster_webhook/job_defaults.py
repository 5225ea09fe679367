"""What a schema's defaults cannot say about a job: values that follow from other fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from muster_api.jobs import AIJob, JobGang, JobResources
from muster_webhook.patches import Operation, pointer

Amounts = Mapping[str, str | int]


def default_job(job: AIJob, gpu_resources: Collection[str]) -> list[Operation]:
    """The patch that fills them in; empty the second time."""
    return [*_gang(job.spec.gang), *_resources(job.spec.resources, gpu_resources)]


def _gang(gang: JobGang) -> list[Operation]:
    if not gang.enabled or gang.min_members is None or gang.members is not None:
        return []
    return [Operation("/spec/gang/members", gang.min_members)]


def _resources(resources: JobResources | None, gpu_resources: Collection[str]) -> list[Operation]:
    """Limits stand for requests that are not given, as in a pod; GPUs need both, and they have to be equal."""
    if resources is None:
        return []
    requests, limits = resources.requests, resources.limits
    as_requests = {name: amount for name, amount in limits.items() if name not in requests}
    as_limits = {name: amount for name, amount in requests.items() if name in gpu_resources and name not in limits}
    return [*_add("requests", requests, as_requests), *_add("limits", limits, as_limits)]


def _add(part: str, present: Amounts, missing: Amounts) -> list[Operation]:
    if not missing:
        return []
    if not present:
        return [Operation(pointer("spec", "resources", part), dict(missing))]
    return [Operation(pointer("spec", "resources", part, name), amount) for name, amount in missing.items()]
