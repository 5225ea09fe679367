"""What the clients of a campaign want of the queue service, and where each of their jobs may stand in the end. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bones.job_stage import GROUP
from bones.kube import Item

TICKET = "ticket"
"""A label that names one wish: two jobs with the same one are one job too many."""
FAILS = "FAILS"
"""A variable in the pods of a job: so many of its attempts end with 1."""
ALWAYS = 1000
MOST_RETRIES = 2
PATIENT_RETRIES = 100
"""Of jobs that are to succeed, however many of their workers are killed."""
IDLE_QUEUE = "idle"
"""Nobody works here until the campaign is over, so that there is something that waits."""


class Kind(StrEnum):
    """What is done, and how it goes."""

    POOL = "pool"
    POOL_REFUSED = "pool-refused"
    POOL_IDLE = "pool-idle"
    PODS = "pods"
    PODS_ONCE_FAILED = "pods-once-failed"
    PODS_DOOMED = "pods-doomed"

    @property
    def is_of_a_pool(self) -> bool:
        return self in (Kind.POOL, Kind.POOL_REFUSED, Kind.POOL_IDLE)


_ENDS = {Kind.POOL_REFUSED: "Failed", Kind.PODS_DOOMED: "DeadLetter"}
_KINDS = (Kind.POOL,) * 5 + (Kind.POOL_REFUSED, Kind.POOL_IDLE) + (Kind.PODS,) * 3
_KINDS_ALL = (*_KINDS, Kind.PODS_ONCE_FAILED, Kind.PODS_DOOMED)


@dataclass(frozen=True)
class Order:
    """One job as it is wanted."""

    ticket: str
    kind: Kind
    members: int
    priority: int
    rounds: int
    is_named: bool = False
    """By its author, after its ticket."""

    def body(self, namespace: str, cluster: str) -> dict[str, Any]:
        """As it is submitted."""
        common = {"namespace": namespace, "labels": {TICKET: self.ticket}, "priority": self.priority}
        common |= {"name": self.ticket} if self.is_named else {}
        return common | (self._of_a_pool() if self.kind.is_of_a_pool else self._of_pods(cluster))

    def manifest(self, namespace: str, cluster: str) -> Item:
        """The same job of pods as kubectl users write it."""
        body = self._of_pods(cluster)
        gang, retries = body["gang"], body["retry_policy"]
        spec = {name: body[name] for name in ("image", "cluster", "env", "resources")} | {
            "jobType": body["job_type"],
            "priority": self.priority,
            "gang": {"enabled": True, "minMembers": gang["min_members"]},
            "retryPolicy": {"maxRetries": retries["max_retries"], "backoffSeconds": retries["backoff_seconds"]},
        }
        metadata = {"name": self.ticket, "namespace": namespace, "labels": {TICKET: self.ticket}}
        return {"apiVersion": GROUP, "kind": "AIJob", "metadata": metadata, "spec": spec}

    def object_name(self, job_id: str) -> str:
        """What its AIJob is called."""
        return self.ticket if self.is_named else f"job-{job_id.replace('-', '')[:20]}"

    @property
    def end(self) -> str:
        """The phase that it ends in, unless somebody cancels it."""
        return _ENDS.get(self.kind, "Succeeded")

    def _of_a_pool(self) -> dict[str, Any]:
        config = {"rounds": self.rounds, "samples_per_round": 10, "step_delay_ms": 20}
        if self.kind is Kind.POOL_REFUSED:
            config = {"rounds": -1}
        return {
            "job_type": "simulation",
            "execution": "pool",
            "queue": IDLE_QUEUE if self.kind is Kind.POOL_IDLE else "default",
            "config": config,
            "retry_policy": {"max_retries": PATIENT_RETRIES, "backoff_seconds": 0},
        }

    def _of_pods(self, cluster: str) -> dict[str, Any]:
        fails = {Kind.PODS_ONCE_FAILED: 1, Kind.PODS_DOOMED: ALWAYS}.get(self.kind, 0)
        return {
            "job_type": "training",
            "image": "muster-worker",
            "cluster": cluster,
            "env": [{"name": FAILS, "value": str(fails)}],
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            "gang": {"enabled": True, "min_members": self.members},
            "retry_policy": {"max_retries": MOST_RETRIES, "backoff_seconds": 1},
        }


def some_order(chance: random.Random, ticket: str) -> Order:
    return Order(
        ticket=ticket,
        kind=chance.choice(_KINDS_ALL),
        members=chance.choice((1, 1, 2, 3)),
        priority=chance.randrange(0, 101, 10),
        rounds=chance.choice((1, 3, 10, 60)),
        is_named=chance.random() < 0.4,
    )
