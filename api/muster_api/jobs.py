"""What users write: AIJob, AIJobQueue, ComputeCluster and GPUWorkload, as structs that match their CRDs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from muster_api.objects import Condition, KubernetesStruct, ObjectMeta
from muster_api.phases import JobPhase


class JobType(StrEnum):
    """Which kind of worker runs a job."""

    INFERENCE = "inference"
    SIMULATION = "simulation"
    TRAINING = "training"


class Execution(StrEnum):
    """Whether a job gets pods of its own or is taken by warm workers."""

    POD = "pod"
    POOL = "pool"


class Strategy(StrEnum):
    """How a node is chosen among those that fit."""

    BINPACK = "binpack"
    LEAST_LOADED = "leastLoaded"
    RANDOM = "random"
    COST_OPTIMIZED = "costOptimized"


class GangTopology(StrEnum):
    """How the members of a gang should lie."""

    RING = "ring"
    RACK = "rack"
    ZONE = "zone"


class PriorityWord(StrEnum):
    """Priorities by name; muster_api.priorities.WORDS gives their numbers."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


class PreemptionPolicy(StrEnum):
    """Whether the jobs of a queue may take the place of jobs of lower priority."""

    PREEMPT_LOWER_PRIORITY = "PreemptLowerPriority"
    NEVER = "Never"


class GPUWorkloadPhase(StrEnum):
    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class JobResources(KubernetesStruct, frozen=True, kw_only=True):
    """Like a container's, but a person may have written whole numbers without quotes."""

    requests: dict[str, str | int] = msgspec.field(default_factory=dict)
    limits: dict[str, str | int] = msgspec.field(default_factory=dict)


class EnvironmentVariable(KubernetesStruct, frozen=True, kw_only=True):
    name: str
    value: str = ""


class JobGang(KubernetesStruct, frozen=True, kw_only=True):
    enabled: bool = False
    min_members: int | None = None
    members: int | None = None
    topology: GangTopology | None = None


class JobRetryPolicy(KubernetesStruct, frozen=True, kw_only=True):
    max_retries: int = 3
    backoff_multiplier: float = 2
    backoff_seconds: int = 10


class AIJobSpec(KubernetesStruct, frozen=True, kw_only=True):
    job_type: JobType
    priority: int | None = None
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvironmentVariable, ...] = ()
    resources: JobResources | None = None
    queue: str = "default"
    cluster: str = ""
    strategy: Strategy | None = None
    gang: JobGang = JobGang()
    retry_policy: JobRetryPolicy = JobRetryPolicy()
    timeout_seconds: int | None = None
    queue_timeout_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    execution: Execution = Execution.POD
    suspend: bool = False


class FailureClass(StrEnum):
    """Why an attempt of a job has ended without success; it decides whether there is another one."""

    EXIT_CODE = "exitCode"
    OUT_OF_MEMORY = "outOfMemory"
    PREEMPTED = "preempted"
    NODE_LOST = "nodeLost"
    IMAGE = "image"
    VALIDATION = "validation"
    TIMEOUT = "timeout"
    DELETED = "deleted"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    BROKEN = "broken"


class AttemptRecord(KubernetesStruct, frozen=True, kw_only=True):
    """One attempt that is over."""

    number: int
    failure: FailureClass
    exit_code: int | None = None
    member: str = ""
    """The pod that ended it, where one did."""
    message: str = ""
    start_time: str | None = None
    end_time: str | None = None


class AIJobStatus(KubernetesStruct, frozen=True, kw_only=True):
    phase: JobPhase = JobPhase.PENDING
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    attempt: int = 0
    gpus: int = 0
    ready: str = ""
    retries: int = 0
    """Failed attempts that count against maxRetries."""
    attempts: tuple[AttemptRecord, ...] = ()
    queued_time: str | None = None
    next_attempt_time: str | None = None
    start_time: str | None = None
    completion_time: str | None = None
    observed_retry: str = ""
    conditions: tuple[Condition, ...] = ()


class AIJob(KubernetesStruct, frozen=True, kw_only=True):
    """One AI workload, of one pod or of a gang that starts whole."""

    spec: AIJobSpec
    metadata: ObjectMeta = ObjectMeta()
    status: AIJobStatus = AIJobStatus()


class AIJobQueueSpec(KubernetesStruct, frozen=True, kw_only=True):
    max_concurrency: int | None = None
    priority_class: PriorityWord = PriorityWord.NORMAL
    preemption_policy: PreemptionPolicy = PreemptionPolicy.PREEMPT_LOWER_PRIORITY
    """Has no effect yet: no job takes the place of another."""
    default_resources: JobResources | None = None


class AIJobQueueStatus(KubernetesStruct, frozen=True, kw_only=True):
    pending: int = 0
    running: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class AIJobQueue(KubernetesStruct, frozen=True, kw_only=True):
    """Limits and defaults for the jobs that name it."""

    spec: AIJobQueueSpec
    metadata: ObjectMeta = ObjectMeta()
    status: AIJobQueueStatus = AIJobQueueStatus()


class ClusterCapacity(KubernetesStruct, frozen=True, kw_only=True):
    max_jobs: int | None = None
    max_gpus: int | None = msgspec.field(default=None, name="maxGPUs")


class ComputeClusterSpec(KubernetesStruct, frozen=True, kw_only=True):
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    capacity: ClusterCapacity | None = None


class ComputeClusterStatus(KubernetesStruct, frozen=True, kw_only=True):
    nodes: int = 0
    jobs: int = 0
    gpus: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ComputeCluster(KubernetesStruct, frozen=True, kw_only=True):
    """A named part of the cluster's nodes, with limits on what runs there."""

    spec: ComputeClusterSpec
    metadata: ObjectMeta = ObjectMeta()
    status: ComputeClusterStatus = ComputeClusterStatus()


class WorkloadRetryPolicy(KubernetesStruct, frozen=True, kw_only=True):
    max_retries: int = 3
    backoff_seconds: int = 30


class GPUWorkloadSpec(KubernetesStruct, frozen=True, kw_only=True):
    model_name: str
    gpu_count: int
    priority: PriorityWord = PriorityWord.NORMAL
    scheduling_strategy: Strategy = Strategy.LEAST_LOADED
    retry_policy: WorkloadRetryPolicy = WorkloadRetryPolicy()


class GPUWorkloadStatus(KubernetesStruct, frozen=True, kw_only=True):
    phase: GPUWorkloadPhase = GPUWorkloadPhase.PENDING
    assigned_node: str = ""
    job_name: str = ""
    reason: str = ""
    message: str = ""
    retries: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class GPUWorkload(KubernetesStruct, frozen=True, kw_only=True):
    """A model that runs on some GPUs of one node."""

    spec: GPUWorkloadSpec
    metadata: ObjectMeta = ObjectMeta()
    status: GPUWorkloadStatus = GPUWorkloadStatus()
