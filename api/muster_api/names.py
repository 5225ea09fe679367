"""Every name that Muster shares with Kubernetes and its users: groups, labels, annotations, gate, accounts."""

from __future__ import annotations

from typing import Final

GROUP: Final = "aiplatform.example.com"
VERSION: Final = "v1alpha1"
GPU_GROUP: Final = "gpu.warp.dev"
PREFIX: Final = f"{GROUP}/"

MANAGED_LABEL: Final = f"{PREFIX}managed"
"""On a Namespace, with the value "true": Muster gates and releases its GPU pods."""

GANG_LABEL: Final = f"{PREFIX}gang"
QUEUE_LABEL: Final = f"{PREFIX}queue"

GANG_SIZE_ANNOTATION: Final = f"{PREFIX}gang-size"
GANG_MIN_ANNOTATION: Final = f"{PREFIX}gang-min"
PRIORITY_ANNOTATION: Final = f"{PREFIX}priority"
MAX_RUNTIME_ANNOTATION: Final = f"{PREFIX}max-runtime"
TOPOLOGY_ANNOTATION: Final = f"{PREFIX}topology"
TOPOLOGY_KEY_ANNOTATION: Final = f"{PREFIX}topology-key"
PIN_ANNOTATION: Final = f"{PREFIX}pin"
ON_BROKEN_ANNOTATION: Final = f"{PREFIX}on-broken"

RELEASE_ANNOTATION: Final = f"{PREFIX}release"
"""The ticket; written by the controller, or by the webhook on the leader's answer, and by nobody else."""

GATE: Final = f"{PREFIX}gang"
MEMBER_MARKER: Final = f"{PREFIX}member"
BIND_MARKER: Final = f"{PREFIX}bind"
MARKER_QUANTITY: Final = "0"
"""Naming them is enough for the extender entries, while kube-scheduler looks at each node for what is not zero."""

GPU_RESOURCE: Final = "nvidia.com/gpu"
DEFAULT_QUEUE: Final = "default"

SYSTEM_NAMESPACE: Final = "muster-system"
CONTROLLER_ACCOUNT: Final = "muster-controller"
EXTENDER_ACCOUNT: Final = "muster-extender"
WEBHOOK_ACCOUNT: Final = "muster-webhook"
CONTROLLER_USER: Final = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER_ACCOUNT}"
RELEASE_KEY_OBJECT: Final = "muster-release-key"
WEBHOOK_TLS_OBJECT: Final = "muster-webhook-tls"
PLACEMENT_TERM: Final = "default"

PLAIN_GANG_PREFIX: Final = "pods-"
JOB_GANG_PREFIX: Final = "aijob-"
"""Of the Gang object of an AIJob, and of the gang label of its pods."""

MAIN_CONTAINER: Final = "main"
"""The container of an AIJob's pod that does the work; others were put beside it."""

JOB_LABEL: Final = f"{PREFIX}job"
ATTEMPT_LABEL: Final = f"{PREFIX}attempt"
ORDINAL_LABEL: Final = f"{PREFIX}ordinal"
JOB_VARIABLES: Final = frozenset(
    {
        "MASTER_ADDR",
        "MASTER_PORT",
        "WORLD_SIZE",
        "RANK",
        "NODE_RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "PET_NNODES",
        "PET_NODE_RANK",
        "PET_NPROC_PER_NODE",
        "PET_MASTER_ADDR",
        "PET_MASTER_PORT",
        "MUSTER_JOB",
        "MUSTER_NAMESPACE",
        "MUSTER_JOB_UID",
        "MUSTER_ATTEMPT",
        "MUSTER_JOB_TYPE",
        "MUSTER_CONFIG",
    }
)
"""What Muster sets in the pods of an AIJob, whatever the job itself says of them."""

CANCEL_ANNOTATION: Final = f"{PREFIX}cancel"
"""On an AIJob, with the value "true": it ends now and for good."""

RETRY_ANNOTATION: Final = f"{PREFIX}retry"
"""On an AIJob that has failed: each new value begins it anew, with all its retries."""

JOB_ID_ANNOTATION: Final = f"{PREFIX}job-id"
"""On an AIJob that stands for a job of the queue service: that job's id. Only the controller writes it."""

SUBMITTED_ANNOTATION: Final = f"{PREFIX}submitted"
"""When that job was submitted, which is what it is ordered by: RFC 3339 in UTC with microseconds."""

QUEUED_ANNOTATION: Final = f"{PREFIX}queued"
"""Since when that job waited before it became an AIJob, for its queueTimeoutSeconds."""

TRACE_ANNOTATION: Final = f"{PREFIX}trace"
"""On an AIJob and its pods: the W3C trace context that the job belongs to, as a `traceparent` header has it."""

SIMULATE_PREFIX: Final = f"{PREFIX}simulate-"
"""Annotations that a simulated node plays: from an AIJob they are handed on to its pods."""

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
"""On an EndpointSlice: whose addresses it has."""

SLICE_MANAGER_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
SLICE_MANAGER: Final = "muster-controller"
HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
"""On an EndpointSlice of a Service without an address of its own: kube-proxy does not watch it."""

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


def gang_object_name(label: str) -> str:
    """The Gang object that stands for the plain pods carrying this gang label."""
    return f"{PLAIN_GANG_PREFIX}{label}"


def job_gang_name(job: str) -> str:
    """The Gang object of an AIJob, which is also its pods' gang label."""
    return f"{JOB_GANG_PREFIX}{job}"
