"""From a review to its answer: what is asked about, decoded, given to the pure rules, and put into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from muster_api.field_errors import FieldError, describe, newly_wrong
from muster_api.job_rules import RULES, Rules
from muster_api.jobs import AIJob
from muster_api.names import GPU_GROUP, GROUP
from muster_api.objects import Pod
from muster_api.shapes import decode_shape
from muster_webhook.application import Handler, Result
from muster_webhook.job_defaults import default_job
from muster_webhook.pod_validation import misspelt_annotations, validate_pod
from muster_webhook.pods import Admission, mutate_pod
from muster_webhook.reviews import AdmissionRequest, allow, deny, is_absent

_GROUPS: Final = (GROUP, GPU_GROUP)


class _BareContainer(msgspec.Struct, frozen=True):
    resources: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _BareSpec(msgspec.Struct, frozen=True):
    containers: tuple[_BareContainer, ...] = ()


class _BarePod(msgspec.Struct, frozen=True):
    spec: _BareSpec = _BareSpec()


_pod: Final = msgspec.json.Decoder(Pod).decode
_bare_pod: Final = msgspec.json.Decoder(_BarePod).decode


class Handlers:
    """One method a path; none keeps anything, so that a dry run needs no care."""

    def __init__(self, gpu_resources: tuple[str, ...]) -> None:
        self._gpu_resources = gpu_resources

    def by_path(self) -> Mapping[str, Handler]:
        return {
            "/mutate/pods": self.mutate_pods,
            "/validate/pods": self.validate_pods,
            "/mutate/crs": self.mutate_resources,
            "/validate/crs": self.validate_resources,
        }

    def mutate_pods(self, request: AdmissionRequest) -> Result:
        """Gates a new pod, or refuses it where Muster could never release it."""
        return self._judge_pod(request, mutate=True)

    def validate_pods(self, request: AdmissionRequest) -> Result:
        """The same refusals without the patch, for whoever wants to see the final state judged."""
        return self._judge_pod(request, mutate=False)

    def mutate_resources(self, request: AdmissionRequest) -> Result:
        """Fills in a job's defaults. What has the wrong form passes: the schema's answer names it better."""
        rules = _rules(request)
        if rules is None or rules.type is not AIJob:
            return _pass(request)
        job, _ = decode_shape(request.object, AIJob)
        if job is None or _is_leaving(job):
            return _pass(request)
        patch = default_job(job, self._gpu_resources)
        return ("patched" if patch else "allowed"), allow(request.uid, patch)

    def validate_resources(self, request: AdmissionRequest) -> Result:
        """Refuses what the schema cannot; an update may leave alone what was wrong before."""
        rules = _rules(request)
        if rules is None:
            return _pass(request)
        subject, errors = decode_shape(request.object, rules.type)
        if subject is not None:
            errors = [] if _is_leaving(subject) else rules.validate(subject)
        errors = newly_wrong(errors, _errors_before(request, rules))
        if errors:
            return _refuse(request, errors)
        return "allowed", allow(request.uid, warnings=rules.warn(subject) if subject is not None else ())

    def _judge_pod(self, request: AdmissionRequest, *, mutate: bool) -> Result:
        if request.kind.kind != "Pod" or request.operation != "CREATE" or _is_part(request):
            return _pass(request)
        pod, malformed = _decode_pod(request.object)
        if pod is None:
            return "denied", deny(request.uid, malformed, code=400, reason="BadRequest")
        admission = self._admission(request, pod)
        errors = validate_pod(pod, admission)
        if errors:
            return _refuse(request, errors)
        patch = mutate_pod(pod, admission) if mutate else []
        return ("patched" if patch else "allowed"), allow(request.uid, patch, misspelt_annotations(pod))

    def _admission(self, request: AdmissionRequest, pod: Pod) -> Admission:
        first = next(iter(pod.spec.containers), None)
        asks_nothing = first is not None and not first.resources.requests and not first.resources.limits
        has_resources = not asks_nothing or _has_resources(request.object)
        return Admission(self._gpu_resources, request.user_info.username, has_resources)


def _decode_pod(raw: msgspec.Raw) -> tuple[Pod | None, str]:
    try:
        return _pod(raw), ""
    except (ValueError, RecursionError) as error:
        return None, f"the pod cannot be read: {error}"


def _has_resources(raw: msgspec.Raw) -> bool:
    containers = _bare_pod(raw).spec.containers
    found = containers[0].resources if containers else msgspec.UNSET
    return found is not msgspec.UNSET and bytes(found).strip() != b"null"


def _rules(request: AdmissionRequest) -> Rules | None:
    """None for what is none of our business: other kinds, deletions, status and the other parts of an object."""
    if request.kind.group not in _GROUPS or request.operation not in ("CREATE", "UPDATE") or _is_part(request):
        return None
    return RULES.get(request.kind.kind)


def _is_part(request: AdmissionRequest) -> bool:
    return request.sub_resource != ""


def _is_leaving(subject: Any) -> bool:
    """Whether it is being deleted: then finalizers go, and nothing may hold that up."""
    return subject.metadata.deletion_timestamp is not None


def _errors_before(request: AdmissionRequest, rules: Rules) -> list[FieldError]:
    if request.operation != "UPDATE" or is_absent(request.old_object):
        return []
    subject, errors = decode_shape(request.old_object, rules.type)
    return errors if subject is None else rules.validate(subject)


def _pass(request: AdmissionRequest) -> Result:
    return "allowed", allow(request.uid)


def _refuse(request: AdmissionRequest, errors: list[FieldError]) -> Result:
    return "denied", deny(request.uid, describe(errors))
