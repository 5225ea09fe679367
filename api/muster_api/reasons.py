"""Why a gang or pod waits or failed: one vocabulary for conditions, events, metric labels and answers."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The dominant reason, the same word wherever a person or a program meets it."""

    WAITING_FOR_MEMBERS = "WaitingForMembers"
    INCONSISTENT_MEMBERS = "InconsistentMembers"
    SURPLUS_MEMBER = "SurplusMember"
    FOREIGN_GATE = "ForeignGate"
    NAMESPACE_NOT_MANAGED = "NamespaceNotManaged"
    UNSUPPORTED_CONSTRAINT = "UnsupportedConstraint"
    NO_MATCHING_NODE = "NoMatchingNode"
    INSUFFICIENT_RESOURCES = "InsufficientResources"
    GANG_TOO_LARGE = "GangTooLarge"
    QUARANTINED = "Quarantined"
    BACKING_OFF = "BackingOff"
    PENDING_EVALUATION = "PendingEvaluation"
    RESERVED = "Reserved"
    WAITING_AT_BARRIER = "WaitingAtBarrier"
    BINDING = "Binding"
    SCHEDULED = "Scheduled"
    FINISHED = "Finished"
    MEMBER_FAILED = "MemberFailed"
    MEMBER_DELETED = "MemberDeleted"
    NODE_LOST = "NodeLost"
    NODE_UNSCHEDULABLE = "NodeUnschedulable"
    PLACEMENT_REFUSED = "PlacementRefused"
    BARRIER_TIMEOUT = "BarrierTimeout"
    RELEASE_TIMEOUT = "ReleaseTimeout"
    STALE_RESERVATION = "StaleReservation"
    GANG_BROKEN = "GangBroken"
    PREEMPTED = "Preempted"
    INVALID = "Invalid"
    QUEUE_LIMIT = "QueueLimit"
    CLUSTER_LIMIT = "ClusterLimit"
    QUEUE_NOT_FOUND = "QueueNotFound"
    CLUSTER_NOT_FOUND = "ClusterNotFound"
    POOL_MISSING = "PoolMissing"
    NAME_TAKEN = "NameTaken"
    SUSPENDED = "Suspended"
    CANCELLED = "Cancelled"
    DELETED = "Deleted"
    JOB_DELETED = "JobDeleted"
    QUEUE_TIMEOUT = "QueueTimeout"
    RUN_TIMEOUT = "RunTimeout"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_PULL = "ImagePull"
    VALIDATION = "Validation"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    RETRY_REQUESTED = "RetryRequested"


PERMANENT: frozenset[Reason] = frozenset(
    {
        Reason.INCONSISTENT_MEMBERS,
        Reason.UNSUPPORTED_CONSTRAINT,
        Reason.NO_MATCHING_NODE,
        Reason.GANG_TOO_LARGE,
        Reason.INVALID,
    }
)
"""Reasons that time alone does not mend: somebody has to change the pods or the cluster."""
