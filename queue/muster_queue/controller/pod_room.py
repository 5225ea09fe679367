"""The room that pods themselves take: where they are bound, or where the ticket of a single pod sends it."""

from __future__ import annotations

import structlog

from muster_api.membership import demand
from muster_api.objects import Pod
from muster_api.quantities import QuantityError
from muster_api.tickets import single_gang
from muster_planner.capacity import Capacity
from muster_queue.controller.members import Member
from muster_queue.controller.shapes import Shapes

log = structlog.get_logger(__name__)


class PodRoom:
    """Takes and gives under each pod's uid; what a gang's slots hold is not its business."""

    def __init__(self, capacity: Capacity, shapes: Shapes) -> None:
        self._capacity = capacity
        self._shapes = shapes
        self._moving: dict[str, str] = {}

    @property
    def moving(self) -> tuple[str, ...]:
        """Single pods whose ticket is being written, by uid."""
        return tuple(self._moving)

    def move(self, uid: str, node: str | None) -> None:
        """A single pod's ticket for this node is being written; None when that is over."""
        if node is None:
            self._moving.pop(uid, None)
        else:
            self._moving[uid] = node

    def settle(self, pod: Pod, member: Member | None, before: Pod | None) -> bool:
        """Makes what the pod takes what it should take; whether room was given back."""
        uid = pod.metadata.uid
        node = self._node_of(pod, member)
        if not node:
            return self._give(uid)
        if before is None or before.spec != pod.spec or self._capacity.holder_node(uid) != node:
            self._capacity.take(node, uid, self._demand(pod, member))
        return False

    def forget(self, uid: str) -> bool:
        """The pod is gone; whether room was given back."""
        self._moving.pop(uid, None)
        return self._give(uid)

    def _node_of(self, pod: Pod, member: Member | None) -> str:
        """Where it takes room: where it is bound, else where its own ticket sends it."""
        if pod.is_terminal:
            return ""
        if pod.is_bound:
            return pod.spec.node_name
        if member is None or member.label or member.deleting:
            return ""
        moving = self._moving.get(pod.metadata.uid)
        if moving is not None:
            return moving
        ticket = member.ticket
        return ticket.node if ticket is not None and ticket.gang == single_gang(member.uid) else ""

    def _give(self, uid: str) -> bool:
        node = self._capacity.holder_node(uid)
        return node is not None and self._capacity.give(node, uid)

    def _demand(self, pod: Pod, member: Member | None) -> dict[str, int]:
        if member is not None and member.shape in self._shapes:
            return self._shapes[member.shape].demand
        try:
            return demand(pod)
        except QuantityError as error:
            log.warning("pod cannot be read", namespace=pod.metadata.namespace, pod=pod.metadata.name, error=str(error))
            return {"pods": 1}
