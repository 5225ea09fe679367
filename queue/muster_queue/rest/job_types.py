"""A job as REST users write it: the snake_case twin of muster_api.jobs.AIJobSpec, with a name, a namespace and labels.

The constraints say what muster_api.job_rules says, so that they stand in the published schema; a test compares them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from muster_api.job_rules import LONGEST_JOB_NAME, LONGEST_SECONDS
from muster_api.jobs import (
    AIJobSpec,
    EnvironmentVariable,
    Execution,
    GangTopology,
    JobGang,
    JobResources,
    JobRetryPolicy,
    JobType,
    Strategy,
)
from muster_api.membership import LARGEST_GANG

END: Final = r"$(?!\n)"
"""Python's $ is also before a last line break; in the published schema's dialect the rest of it says nothing."""
_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DASHED: Final = "lower-case letters, digits and '-', at most 63"
_RESOURCE: Final = rf"^({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?{END}"
_QUANTITY: Final = (
    rf"^([0-9]{{1,40}}(\.[0-9]{{0,40}})?|\.[0-9]{{1,40}})(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{{1,2}}))?{END}"
)

Priority = Annotated[int, Meta(ge=0, le=100)]
Members = Annotated[int, Meta(ge=1, le=LARGEST_GANG)]
Seconds = Annotated[int, Meta(ge=1, le=LONGEST_SECONDS)]
Text = Annotated[str, Meta(max_length=8192)]
Words = Annotated[tuple[Text, ...], Meta(max_length=256)]
NamespaceName = Annotated[str, Meta(pattern=f"^{_LABEL}{END}", description=f"the name of a namespace: {_DASHED}")]
QueueName = Annotated[str, Meta(pattern=f"^{_LABEL}{END}", description=f"the name of an AIJobQueue: {_DASHED}")]
JobName = Annotated[
    str,
    Meta(
        pattern=f"^[a-z]([-a-z0-9]*[a-z0-9])?{END}",
        max_length=LONGEST_JOB_NAME,
        description=f"at most {LONGEST_JOB_NAME} lower-case letters, digits and '-', beginning with a letter",
    ),
]
ClusterName = Annotated[
    str,
    Meta(
        pattern=rf"^({_LABEL}(\.{_LABEL})*)?{END}",
        max_length=253,
        description="the name of a ComputeCluster, or nothing",
    ),
]
Image = Annotated[
    str, Meta(pattern=f"^[!-~]*{END}", max_length=1024, description="a container image's name, without white space")
]
ResourceName = Annotated[
    str, Meta(pattern=_RESOURCE, description="a resource's name, for example cpu, memory or nvidia.com/gpu")
]
Quantity = Annotated[str, Meta(pattern=_QUANTITY, description="a quantity, for example 500m, 2, 1.5Gi or 1e3")]
Amounts = Annotated[
    dict[ResourceName, Quantity | Annotated[int, Meta(ge=0, le=2**53)]],
    Meta(max_length=32),
]
LabelName = Annotated[
    str, Meta(pattern=_RESOURCE, max_length=317, description="a label's name: letters, digits, '-', '_' and '.'")
]
LabelValue = Annotated[
    str,
    Meta(
        pattern=f"^([A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?)?{END}",
        description="a label's value: at most 63 letters, digits, '-', '_' and '.'",
    ),
]
Labels = Annotated[dict[LabelName, LabelValue], Meta(max_length=32)]


class RequestStruct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of what users send: a field that nobody knows is a mistake, not something to skip."""


class Environment(RequestStruct, frozen=True, kw_only=True):
    name: Annotated[
        str,
        Meta(
            pattern=rf"^[^=\x00]+{END}",
            max_length=256,
            description="a variable's name of 1 to 256 characters, without '='",
        ),
    ]
    value: Annotated[str, Meta(max_length=32768)] = ""


class Resources(RequestStruct, frozen=True, kw_only=True):
    """Like a container's; whole numbers may stand without quotes."""

    requests: Amounts = msgspec.field(default_factory=dict)
    limits: Amounts = msgspec.field(default_factory=dict)


class Gang(RequestStruct, frozen=True, kw_only=True):
    """Members that start together or not at all."""

    enabled: bool = False
    min_members: Members | None = None
    members: Members | None = None
    topology: GangTopology | None = None


class RetryPolicy(RequestStruct, frozen=True, kw_only=True):
    max_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    backoff_multiplier: Annotated[float, Meta(ge=1, le=10)] = 2
    backoff_seconds: Annotated[int, Meta(ge=0, le=3600)] = 10


_ONE_MEMBER: Final = Gang()
_USUAL_RETRIES: Final = RetryPolicy()


class JobSpecification(RequestStruct, frozen=True, kw_only=True):
    """What is to run, and how."""

    job_type: JobType
    priority: Priority | None = None
    image: Image = ""
    command: Words = ()
    args: Words = ()
    env: Annotated[tuple[Environment, ...], Meta(max_length=256)] = ()
    resources: Resources | None = None
    queue: QueueName = "default"
    cluster: ClusterName = ""
    strategy: Strategy | None = None
    gang: Gang = _ONE_MEMBER
    retry_policy: RetryPolicy = _USUAL_RETRIES
    timeout_seconds: Seconds | None = None
    queue_timeout_seconds: Seconds | None = None
    ttl_seconds_after_finished: Annotated[int, Meta(ge=0, le=LONGEST_SECONDS)] | None = None
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    execution: Execution = Execution.POD
    suspend: bool = False


class JobRequest(JobSpecification, frozen=True, kw_only=True):
    """A job to submit."""

    name: JobName | None = None
    namespace: NamespaceName | None = None
    labels: Labels = msgspec.field(default_factory=dict)


def to_spec(request: JobSpecification) -> AIJobSpec:
    """The same job in the words of the custom resource."""
    resources = request.resources
    return AIJobSpec(
        job_type=request.job_type,
        priority=request.priority,
        image=request.image,
        command=request.command,
        args=request.args,
        env=tuple([EnvironmentVariable(name=each.name, value=each.value) for each in request.env]),
        resources=None if resources is None else JobResources(requests=resources.requests, limits=resources.limits),
        queue=request.queue,
        cluster=request.cluster,
        strategy=request.strategy,
        gang=_NO_GANG if request.gang is _ONE_MEMBER else _to_gang(request.gang),
        retry_policy=_RETRIES if request.retry_policy is _USUAL_RETRIES else _to_retries(request.retry_policy),
        timeout_seconds=request.timeout_seconds,
        queue_timeout_seconds=request.queue_timeout_seconds,
        ttl_seconds_after_finished=request.ttl_seconds_after_finished,
        config=request.config,
        execution=request.execution,
        suspend=request.suspend,
    )


_NO_GANG: Final = JobGang()
_RETRIES: Final = JobRetryPolicy()


def _to_gang(gang: Gang) -> JobGang:
    return JobGang(enabled=gang.enabled, min_members=gang.min_members, members=gang.members, topology=gang.topology)


def _to_retries(retry: RetryPolicy) -> JobRetryPolicy:
    return JobRetryPolicy(
        max_retries=retry.max_retries,
        backoff_multiplier=retry.backoff_multiplier,
        backoff_seconds=retry.backoff_seconds,
    )


class EnvironmentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str = ""


class ResourcesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    requests: dict[str, str | int] = msgspec.field(default_factory=dict)
    limits: dict[str, str | int] = msgspec.field(default_factory=dict)


class GangAnswer(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool
    min_members: int | None
    members: int | None
    topology: GangTopology | None


class RetryPolicyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    max_retries: int
    backoff_multiplier: float
    backoff_seconds: int


class SpecificationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A job's specification as it is answered: without limits, since kubectl users have other ones."""

    job_type: JobType
    priority: int | None
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvironmentAnswer, ...]
    resources: ResourcesAnswer | None
    queue: str
    cluster: str
    strategy: Strategy | None
    gang: GangAnswer
    retry_policy: RetryPolicyAnswer
    timeout_seconds: int | None
    queue_timeout_seconds: int | None
    ttl_seconds_after_finished: int | None
    config: dict[str, Any]
    execution: Execution
    suspend: bool


def from_spec(spec: AIJobSpec) -> SpecificationAnswer:
    """The custom resource's specification in REST's words."""
    return msgspec.convert(spec, SpecificationAnswer, from_attributes=True)
