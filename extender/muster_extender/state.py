"""Everything the extender knows of the cluster, brought up to date one object at a time; no I/O.

Pods and Gangs are translated into holds of the ledger here, so that each GPU is counted exactly once: a bound pod, a
pod being bound, the ticket of a single pod, or a slot of a gang's plan that no pod has taken yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from muster_api.gangs import Fence, Gang
from muster_api.names import MANAGED_LABEL
from muster_api.objects import Namespace, Node, Pod
from muster_api.phases import GangPhase
from muster_api.tickets import Ticket, single_gang
from muster_extender import gangs, nodes, pods
from muster_extender.claims import Claims
from muster_extender.gangs import GangRecord
from muster_extender.ledger import Hold, Ledger
from muster_extender.nodes import NodeRecord
from muster_extender.pods import PodRecord
from muster_extender.shapes import Shapes
from muster_extender.verification import TicketVerifier

_MOST_SHOWN = 50_000


class ClusterState:
    """The single writer of ledger and claims, and what filter, bind and the barrier read."""

    def __init__(self, resources: Collection[str], verifier: TicketVerifier) -> None:
        self.resources = tuple(resources)
        self.verifier = verifier
        self.ledger = Ledger(self.resources)
        self.claims = Claims()
        self.fence: Fence | None = None
        self.managed: set[str] = set()
        self.nodes: dict[str, NodeRecord] = {}
        self.pods: dict[str, PodRecord] = {}
        self.gangs: dict[str, GangRecord] = {}
        self.pod_gone: Callable[[str], None] = lambda uid: None
        """Told when a pod is deleted, being deleted or at its end."""
        self.gang_changed: Callable[[str], None] = lambda gang_id: None
        """Told when a Gang has changed or is gone."""
        self._in_flight: dict[str, str] = {}
        self._shapes = Shapes()
        # Pods as filter saw them: the scheduler's watch may be ahead of ours.
        self._shown: dict[str, PodRecord] = {}
        # Tickets that a pod showed before the one it has now: their slots are its own all the same.
        self._former: dict[str, set[Ticket]] = {}

    def observe_namespace(self, namespace: Namespace) -> None:
        if namespace.metadata.labels.get(MANAGED_LABEL) == "true":
            self.managed.add(namespace.metadata.name)
        else:
            self.managed.discard(namespace.metadata.name)

    def forget_namespace(self, namespace: Namespace) -> None:
        self.managed.discard(namespace.metadata.name)

    def observe_node(self, node: Node) -> None:
        record = nodes.record_of(node, self.resources)
        self.nodes[record.name] = record
        self.ledger.set_node(record.name, record.allocatable)

    def forget_node(self, node: Node) -> None:
        self.nodes.pop(node.metadata.name, None)
        self.ledger.remove_node(node.metadata.name)

    def is_usable(self, node: str) -> bool:
        """Whether a gang may be committed to this node now."""
        record = self.nodes.get(node)
        return record is not None and record.is_usable

    def observe_pod(self, pod: Pod) -> None:
        old = self.pods.get(pod.metadata.uid)
        if pod.is_terminal:
            self._remove_pod(pod.metadata.uid)
            return
        record = pods.record_of(pod, self.resources, old)
        if record == old:
            return
        if old is not None and old.ticket != record.ticket:
            self._remember_ticket(old)
        self.pods[record.uid] = record
        self._shown.pop(record.uid, None)
        self._show_shape(old, record)
        self._hold_pod(record)
        if record.is_deleting and (old is None or not old.is_deleting):
            self.pod_gone(record.uid)

    def forget_pod(self, pod: Pod) -> None:
        self._remove_pod(pod.metadata.uid)

    def show(self, pod: Pod) -> PodRecord:
        """A pod as the scheduler sees it at filter, which may be newer than what our watch has brought."""
        known = self.pods.get(pod.metadata.uid)
        shown = pods.record_of(pod, self.resources, known)
        if known is None or known.ticket != shown.ticket:
            if len(self._shown) >= _MOST_SHOWN:
                self._shown.clear()
            self._shown[shown.uid] = shown
        return shown

    def newest(self, uid: str) -> PodRecord | None:
        """The pod with the newest ticket known, from our watch or from what filter was shown."""
        known, shown = self.pods.get(uid), self._shown.get(uid)
        if known is None or shown is None or known.is_bound or known.is_deleting:
            return known or shown
        return shown if self._is_newer(shown, known) else known

    def observe_gang(self, gang: Gang) -> None:
        old = self.gangs.get(gang.spec.id)
        record = gangs.record_of(gang, old)
        if record is None:
            self._remove_gang(gang.spec.id)
            return
        self.gangs[record.id] = record
        self._plan_shapes(old, record)
        self.claims.keep_from(record.id, record.epoch)
        self._hold_gang(old, record)
        self.gang_changed(record.id)

    def forget_gang(self, gang: Gang) -> None:
        self._remove_gang(gang.spec.id)
        self.claims.forget(gang.spec.id)

    def use_keys(self, keys: Collection[bytes]) -> list[str]:
        """New keys may make tickets valid that were not, and the other way round: the pods to look at again, in order.

        Until `verify_again` has been called for all of them, the ledger is not to be decided on.
        """
        if not self.verifier.use_keys(tuple(keys)):
            return []
        ticketed = [record for record in self.pods.values() if record.ticket]
        return [record.uid for record in sorted(ticketed, key=PodRecord.precedence)]

    def verify_again(self, uid: str) -> None:
        """The keys have changed."""
        record = self.pods.get(uid)
        if record is not None:
            self._hold_pod(record)

    def ticket_of(self, record: PodRecord) -> Ticket | None:
        """The pod's ticket, if it has one that Muster signed."""
        return self.verifier.verify(record.namespace, record.ticket) if record.ticket else None

    def take_slot(self, record: PodRecord) -> None:
        """The pod has shown its ticket at filter: its slot is its own from now on."""
        ticket = self.ticket_of(record)
        if ticket is not None and not ticket.is_single:
            self.claims.claim(ticket, record.uid)
            self._refresh_slot(ticket)

    def begin_bind(self, record: PodRecord, node: str) -> None:
        """The pod counts as bound from the moment its binding may reach the API server."""
        self._in_flight[record.uid] = node
        self._hold_pod(self.pods.get(record.uid, record))

    def cancel_bind(self, record: PodRecord) -> None:
        """The binding has certainly not happened."""
        self._in_flight.pop(record.uid, None)
        if record.uid in self.pods:
            self._hold_pod(self.pods[record.uid])
        else:
            self._drop_pod(record)

    def has_firm_room(self, record: PodRecord, node: str) -> bool:
        """Whether the pod would fit beside all that is bound or being bound there."""
        if self._in_flight.get(record.uid) == node:
            return True
        return record.demand is not None and self.ledger.has_firm_room(node, record.demand)

    def has_free_room(self, record: PodRecord, node: str) -> bool:
        """Whether the pod would fit there beside what is promised to others as well."""
        if self._in_flight.get(record.uid) == node:
            return True
        return record.demand is not None and bool(self.ledger.with_room((node,), record.demand))

    def _is_newer(self, shown: PodRecord, known: PodRecord) -> bool:
        ours, theirs = self.ticket_of(known), self.ticket_of(shown)
        return theirs is not None and (ours is None or theirs.epoch > ours.epoch)

    def _remember_ticket(self, old: PodRecord) -> None:
        ticket = self.ticket_of(old)
        if ticket is not None and not ticket.is_single:
            self._former.setdefault(old.uid, set()).add(ticket)

    def _show_shape(self, old: PodRecord | None, record: PodRecord) -> None:
        """A shape says what its pods ask for: one of them seen, and every slot of that shape is known."""
        if old is not None and old.shape == record.shape:
            return
        for gang_id in self._shapes.show(record.shape, record.demand):
            gang = self.gangs[gang_id]
            for slot, placement in gang.placements.items():
                if placement.shape == record.shape:
                    self._hold_slot(gang, slot)
        if old is not None:
            self._shapes.hide(old.shape)

    def _plan_shapes(self, old: GangRecord | None, new: GangRecord | None) -> None:
        if old is not None and new is not None and old.placements is new.placements:
            return
        before = (old.id, old.shapes) if old is not None else ("", frozenset())
        after = (new.id, new.shapes) if new is not None else ("", frozenset())
        self._shapes.plan(after[0], after[1] - before[1])
        self._shapes.unplan(before[0], before[1] - after[1])

    def _hold_pod(self, record: PodRecord) -> None:
        ticket = self.ticket_of(record)
        member_tickets = self._member_tickets(record.uid, ticket)
        for shown in member_tickets:
            self.claims.claim(shown, record.uid)
            if record.is_bound:
                self.claims.spend(shown, record.uid)
        hold = self._pod_hold(record, ticket)
        if hold is None:
            self.ledger.drop(record.uid)
        else:
            self.ledger.hold(record.uid, hold)
        for shown in member_tickets:
            self._refresh_slot(shown)

    def _member_tickets(self, uid: str, ticket: Ticket | None) -> tuple[Ticket, ...]:
        """All tickets for slots of gangs that the pod shows or has shown."""
        former = tuple(self._former.get(uid, ()))
        return former if ticket is None or ticket.is_single else (*former, ticket)

    def _pod_hold(self, record: PodRecord, ticket: Ticket | None) -> Hold | None:
        if record.is_bound:
            self._in_flight.pop(record.uid, None)
            return Hold(record.node, record.demand, is_firm=True)
        if record.uid in self._in_flight:
            return Hold(self._in_flight[record.uid], record.demand, is_firm=True)
        if ticket is not None and ticket.gang == single_gang(record.uid):
            return Hold(ticket.node, record.demand, is_firm=False)
        return None

    def _refresh_slot(self, ticket: Ticket) -> None:
        gang = self.gangs.get(ticket.gang)
        if gang is not None and gang.epoch == ticket.epoch and ticket.slot in gang.placements:
            self._hold_slot(gang, ticket.slot)

    def _hold_gang(self, old: GangRecord | None, new: GangRecord) -> None:
        """Brings all slots of a gang up to date, unless nothing that concerns them has changed."""
        if old is not None and _holds_alike(old, new):
            return
        if old is not None:
            for slot in old.placements.keys() - new.placements.keys():
                self.ledger.drop((old.id, slot))
        for slot in new.placements:
            self._hold_slot(new, slot)

    def _hold_slot(self, gang: GangRecord, slot: int) -> None:
        hold = self._slot_hold(gang, slot)
        if hold is None:
            self.ledger.drop((gang.id, slot))
        else:
            self.ledger.hold((gang.id, slot), hold)

    def _slot_hold(self, gang: GangRecord, slot: int) -> Hold | None:
        """What a slot still promises; once a gang runs, only slots that a waiting pod points at."""
        if not gang.is_holding:
            return None
        placement = gang.placements[slot]
        claim = self.claims.slot_claim(gang.id, gang.epoch, slot)
        if claim and (claim.is_spent or claim.uid in self._in_flight):
            return None
        claimer = self.pods.get(claim.uid) if claim else None
        if gang.phase is GangPhase.RUNNING and claimer is None:
            return None
        demand = claimer.demand if claimer else self._shapes.demand(placement.shape)
        return Hold(placement.node, demand, is_firm=False)

    def _remove_pod(self, uid: str) -> None:
        record = self.pods.pop(uid, None)
        self._shown.pop(uid, None)
        self._in_flight.pop(uid, None)
        if record is None:
            self.ledger.drop(uid)
            return
        self._shapes.hide(record.shape)
        self._drop_pod(record)
        self._former.pop(uid, None)
        self.pod_gone(uid)

    def _drop_pod(self, record: PodRecord) -> None:
        self.ledger.drop(record.uid)
        for ticket in self._member_tickets(record.uid, self.ticket_of(record)):
            self._refresh_slot(ticket)

    def _remove_gang(self, gang_id: str) -> None:
        record = self.gangs.pop(gang_id, None)
        if record is None:
            return
        self._plan_shapes(record, None)
        for slot in record.placements:
            self.ledger.drop((gang_id, slot))
        self.gang_changed(gang_id)


def _holds_alike(old: GangRecord, new: GangRecord) -> bool:
    is_running = (old.phase is GangPhase.RUNNING, new.phase is GangPhase.RUNNING)
    return old.is_holding == new.is_holding and is_running[0] == is_running[1] and old.has_same_plan(new)
