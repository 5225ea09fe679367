"""A pod as the controller sees it: what it asks for, how far it has come, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from muster_api.answers import IN_TRANSIT
from muster_api.membership import (
    MembershipError,
    asks_for,
    foreign_gates,
    gang_minimum,
    gang_size,
    is_gated,
    pod_priority,
    shape_of,
    unsupported_constraint,
)
from muster_api.names import (
    BIND_MARKER,
    DEFAULT_QUEUE,
    GANG_LABEL,
    GANG_MIN_ANNOTATION,
    GANG_SIZE_ANNOTATION,
    MEMBER_MARKER,
    ON_BROKEN_ANNOTATION,
    PRIORITY_ANNOTATION,
    QUEUE_LABEL,
    RELEASE_ANNOTATION,
    gang_object_name,
)
from muster_api.objects import OwnerReference, Pod
from muster_api.quantities import QuantityError
from muster_api.reasons import Reason
from muster_api.tickets import Ticket, TicketError, names_job, parse
from muster_queue.jobs.failures import PodState, state_of

KEEP_BROKEN: Final = "keep"
DECLARED: Final = (GANG_SIZE_ANNOTATION, GANG_MIN_ANNOTATION, PRIORITY_ANNOTATION)

ReadTicket = Callable[[str, str], Ticket | None]
"""Namespace and annotation value to a ticket that can be believed."""


class Stage(StrEnum):
    """How far a pod has come on its way to a node and to its end."""

    GATED = "gated"
    OPEN = "open"
    BOUND = "bound"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Why a pod cannot take part, in words for its owner."""

    reason: Reason
    message: str


class Member(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One pod that Muster releases; a single pod has an empty label."""

    namespace: str
    name: str
    uid: str
    version: str
    label: str
    created: str
    stage: Stage
    deleting: bool = False
    node: str = ""
    address: str = ""
    ticket: Ticket | None = None
    ticket_text: str = ""
    foreign_gate: str = ""
    shape: str = ""
    size: int = 1
    minimum: int = 1
    priority: int = 50
    queue: str = DEFAULT_QUEUE
    owner: OwnerReference | None = None
    keeps_broken: bool = False
    problem: Problem | None = None
    refusal: str = ""
    state: PodState | None = None
    """How a pod that Muster made for a job does; None for all others."""

    @property
    def gang_name(self) -> str:
        """Its Gang object's name; empty for a single pod.

        A label alone makes no member of a job: only a pod that Muster made for one has a ticket that says so.
        """
        if not self.label:
            return ""
        return self.label if self.state is not None else gang_object_name(self.label)

    @property
    def is_live(self) -> bool:
        """Whether it has neither ended nor begun to go."""
        return not self.deleting and not self.is_terminal

    @property
    def is_terminal(self) -> bool:
        return self.stage is Stage.SUCCEEDED or self.stage is Stage.FAILED

    @property
    def reachable_at(self) -> str:
        """Its address, until it has ended."""
        return "" if self.is_terminal else self.address

    @property
    def is_unbound(self) -> bool:
        """Whether it still needs a place: live, and on no node yet."""
        return not self.deleting and (self.stage is Stage.GATED or self.stage is Stage.OPEN)

    def holds(self, gang_id: str, epoch: str) -> bool:
        """Whether its ticket is for this very try of this very gang."""
        ticket = self.ticket
        return ticket is not None and ticket.gang == gang_id and str(ticket.epoch) == epoch


def unverified(namespace: str, text: str) -> Ticket | None:
    """Reads a ticket without its signature: for processes that have no key yet."""
    try:
        return parse(text)
    except TicketError:
        return None


def read_member(pod: Pod, previous: tuple[Pod, Member] | None = None, read_ticket: ReadTicket = unverified) -> Member:
    """The member that this pod is; never raises, what is wrong with the pod becomes its problem.

    `previous` is the same pod's last reading: hashing its shape again is saved while what decides it is unchanged.
    """
    metadata, spec = pod.metadata, pod.spec
    text = metadata.annotations.get(RELEASE_ANNOTATION, "")
    foreign = foreign_gates(pod)
    ticket = _ticket(pod, text, previous, read_ticket)
    facts = _Facts.of(pod) if previous is None or not _same_facts(previous[0], pod) else _Facts.again(previous[1])
    return Member(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        version=metadata.resource_version,
        label=metadata.labels.get(GANG_LABEL, ""),
        created=metadata.creation_timestamp or "",
        stage=_stage(pod),
        deleting=pod.is_deleting,
        node=spec.node_name,
        address=pod.status.pod_ip,
        ticket=ticket,
        ticket_text=text,
        foreign_gate=foreign[0] if foreign else "",
        shape=facts.shape,
        size=facts.size,
        minimum=facts.minimum,
        priority=facts.priority,
        queue=metadata.labels.get(QUEUE_LABEL) or DEFAULT_QUEUE,
        owner=metadata.controller_owner,
        keeps_broken=metadata.annotations.get(ON_BROKEN_ANNOTATION) == KEEP_BROKEN,
        problem=facts.problem,
        refusal=_refusal(pod),
        state=state_of(pod) if ticket is not None and ticket.is_of_job else None,
    )


class _Facts(msgspec.Struct, frozen=True, gc=False):
    """What is costly to read from a pod and changes hardly ever."""

    shape: str
    size: int
    minimum: int
    priority: int
    problem: Problem | None

    @classmethod
    def of(cls, pod: Pod) -> _Facts:
        shape, size, minimum, problem = "", 1, 1, None
        try:
            shape = shape_of(pod)
            if GANG_LABEL in pod.metadata.labels:
                size, minimum = gang_size(pod), gang_minimum(pod)
        except QuantityError as error:
            problem = Problem(Reason.INVALID, f"pod {pod.metadata.name}: {error}")
        except MembershipError as error:
            problem = Problem(Reason.INCONSISTENT_MEMBERS, f"pod {pod.metadata.name}: {error}")
        problem = problem or _unmarked(pod)
        path = unsupported_constraint(pod)
        if problem is None and path is not None:
            text = f"pod {pod.metadata.name}: {path} is not planned for; remove it to let the pod be released"
            problem = Problem(Reason.UNSUPPORTED_CONSTRAINT, text)
        return cls(shape, size, minimum, pod_priority(pod), problem)

    @classmethod
    def again(cls, member: Member) -> _Facts:
        return cls(member.shape, member.size, member.minimum, member.priority, member.problem)


def _unmarked(pod: Pod) -> Problem | None:
    """A member that kube-scheduler would not ask the extender about must not be let go: it would bind by itself."""
    if GANG_LABEL not in pod.metadata.labels:
        return None
    missing = [marker for marker in (MEMBER_MARKER, BIND_MARKER) if not asks_for(pod, (marker,))]
    if not missing:
        return None
    text = (
        f"pod {pod.metadata.name}: spec.containers[0].resources lacks {' and '.join(missing)}, so muster-webhook did "
        "not see this pod; delete it and create it anew"
    )
    return Problem(Reason.INVALID, text)


def _same_facts(old: Pod, new: Pod) -> bool:
    """Whether nothing has changed that shape, size, priority or constraints are read from."""
    before, after = old.spec, new.spec
    return (
        before.containers == after.containers
        and before.init_containers == after.init_containers
        and before.node_selector == after.node_selector
        and before.affinity == after.affinity
        and before.tolerations == after.tolerations
        and before.resources == after.resources
        and before.priority_class_name == after.priority_class_name
        and (GANG_LABEL in old.metadata.labels) == (GANG_LABEL in new.metadata.labels)
        and all(old.metadata.annotations.get(name) == new.metadata.annotations.get(name) for name in DECLARED)
    )


def _ticket(pod: Pod, text: str, previous: tuple[Pod, Member] | None, read_ticket: ReadTicket) -> Ticket | None:
    if not text:
        return None
    if previous is not None and previous[1].ticket_text == text and previous[1].ticket is not None:
        return previous[1].ticket
    ticket = read_ticket(pod.metadata.namespace, text)
    if ticket is None and pod.is_bound and names_job(text):
        # The extender has verified it before it bound the pod; a key that is gone by now takes nothing away from it.
        return unverified(pod.metadata.namespace, text)
    return ticket


def _stage(pod: Pod) -> Stage:
    if pod.is_terminal:
        return Stage.SUCCEEDED if pod.status.phase == "Succeeded" else Stage.FAILED
    if pod.is_bound:
        return Stage.BOUND
    return Stage.GATED if is_gated(pod) else Stage.OPEN


def _refusal(pod: Pod) -> str:
    """What kube-scheduler says while it finds no node for it."""
    if pod.is_bound:
        return ""
    told = pod.condition("PodScheduled")
    if told is None or told.status != "False" or told.reason != "Unschedulable":
        return ""
    return "" if any(words in told.message for words in IN_TRANSIT) else told.message
