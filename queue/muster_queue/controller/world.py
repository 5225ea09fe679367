"""The state of the world as the reflectors tell it, indexed so that no event and no decision scans the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from muster_api.gangs import Fence, Gang, PlacementTerm
from muster_api.jobs import AIJob, AIJobQueue, ComputeCluster
from muster_api.membership import needs_gate
from muster_api.names import JOB_GANG_PREFIX, MANAGED_LABEL, PLACEMENT_TERM, PLAIN_GANG_PREFIX, job_gang_name
from muster_api.objects import Namespace, Node, Pod
from muster_api.phases import ENDED_PHASES
from muster_api.plans import Placement
from muster_api.quantities import QuantityError
from muster_planner.capacity import Capacity
from muster_queue.controller.catalog import Catalog
from muster_queue.controller.groups import Group, GroupKey
from muster_queue.controller.members import Member, ReadTicket, Stage, read_member, unverified
from muster_queue.controller.pod_room import PodRoom
from muster_queue.controller.shapes import Shapes
from muster_queue.jobs.lifecycle import TERMINAL

log = structlog.get_logger(__name__)

SlotKey = tuple[str, int]


@dataclass(slots=True)
class Listeners:
    """Who wants to hear that something has to be looked at again."""

    group_changed: Callable[[GroupKey], None] = lambda key: None
    group_stirred: Callable[[GroupKey], None] = lambda key: None
    """Only how its pods do has changed, which nobody has to act on at once."""
    single_changed: Callable[[str], None] = lambda uid: None
    room_changed: Callable[[], None] = lambda: None
    nodes_changed: Callable[[], None] = lambda: None


class World:
    """One writer: the event loop. Reflector handlers and the answers to own writes come in by the `see_` methods."""

    def __init__(self, gpu_resources: tuple[str, ...], read_ticket: ReadTicket = unverified) -> None:
        self.capacity = Capacity()
        self.nodes: dict[str, Node] = {}
        self.groups: dict[GroupKey, Group] = {}
        self.singles: dict[str, Member] = {}
        self.managed: set[str] = set()
        self.shapes = Shapes()
        self.catalog = Catalog(gpu_resources)
        self.fence: Fence | None = None
        self.fence_version = ""
        self.listeners = Listeners()
        self.address_changed: Callable[[GroupKey], None] = lambda key: None
        """Hears whose members may have other addresses now; apart from the listeners, for it decides nothing."""
        self.read_ticket = read_ticket
        self._gpu_resources = gpu_resources
        self._pods: dict[str, tuple[Pod, Member | None]] = {}
        self._groups_on: dict[str, set[GroupKey]] = {}
        self._room = PodRoom(self.capacity, self.shapes)
        self._job_shapes: dict[GroupKey, str] = {}
        self._unshaped: dict[str, set[GroupKey]] = {}

    # -- what is asked of it --------------------------------------------------------------------------------------

    def member(self, uid: str) -> Member | None:
        """The pod of this uid, if it is one that Muster releases."""
        known = self._pods.get(uid)
        return known[1] if known is not None else None

    def labels_of(self, uid: str) -> Mapping[str, str]:
        """The labels of the pod with this uid; none when it is gone."""
        known = self._pods.get(uid)
        return known[0].metadata.labels if known is not None else {}

    def group_of(self, gang: Gang) -> Group | None:
        return self.groups.get(_group_key(gang))

    def is_managed(self, namespace: str) -> bool:
        return namespace in self.managed

    def forget_intentions(self) -> None:
        """The leader has stepped down: room for writes that it will not make any more is given back."""
        self.listeners = Listeners()
        for uid in self._room.moving:
            self.move_single(uid, None)
        for group in self.groups.values():
            if group.reserving:
                self.reserve_slots(group, {})

    # -- pods -----------------------------------------------------------------------------------------------------

    def see_pod(self, pod: Pod) -> None:
        """A pod as the watch tells it; an older state than the one known changes nothing."""
        uid = pod.metadata.uid
        known = self._pods.get(uid)
        if known is not None and not _is_newer(pod.metadata.resource_version, known[0].metadata.resource_version):
            return
        member = self._read(pod, known)
        self._count_shape(pod, member, known[1] if known is not None else None)
        self._pods[uid] = (pod, member)
        if member is not None:
            self._file(member, known[1] if known is not None else None)
        elif known is not None and known[1] is not None:
            self._unfile(known[1])
        if self._room.settle(pod, member, known[0] if known is not None else None):
            self.listeners.room_changed()

    def see_pod_answer(self, pod: Pod) -> None:
        """The same, from the answer to an own write: the pod may be gone by now, and then stays gone."""
        if pod.metadata.uid in self._pods:
            self.see_pod(pod)

    def lose_pod(self, pod: Pod) -> None:
        """Its object is gone: only now nobody runs there any more."""
        uid = pod.metadata.uid
        known = self._pods.pop(uid, None)
        if self._room.forget(uid):
            self.listeners.room_changed()
        if known is None:
            return
        if known[1] is not None:
            self._unfile(known[1], is_gone=True)
            self._count_shape(pod, None, known[1])

    def move_single(self, uid: str, node: str | None) -> None:
        """Take room for a single pod whose ticket is being written; None gives it back."""
        self._room.move(uid, node)
        known = self._pods.get(uid)
        if known is not None and self._room.settle(known[0], known[1], None):
            self.listeners.room_changed()

    # -- gangs ----------------------------------------------------------------------------------------------------

    def see_gang(self, gang: Gang) -> None:
        """A Gang as the watch or the answer to an own write tells it; older states change nothing."""
        if not gang.metadata.name.startswith((PLAIN_GANG_PREFIX, JOB_GANG_PREFIX)):
            return
        key = _group_key(gang)
        group = self.groups.setdefault(key, Group(key))
        known = group.gang
        if known is None or _is_newer(gang.metadata.resource_version, known.metadata.resource_version):
            self._replace_gang(group, gang)

    def lose_gang(self, gang: Gang) -> None:
        """Its object is gone, if it is the one that is known."""
        group = self.groups.get(_group_key(gang))
        if group is not None and group.gang is not None and group.gang.metadata.uid == gang.metadata.uid:
            self._replace_gang(group, None)

    def reserve_slots(self, group: Group, slots: dict[int, Placement]) -> None:
        """Take room for slots whose write is under way; an empty dict ends that."""
        group.reserving = slots
        self.settle_group(group)

    def settle_group(self, group: Group) -> None:
        """Make what the gang holds exactly what it should hold."""
        wanted = group.wanted_holdings()
        changed = False
        for slot in [slot for slot in group.held if slot not in wanted]:
            changed |= self.capacity.give(group.held.pop(slot).node, (*group.key, slot))
        for slot, placement in wanted.items():
            if group.held.get(slot) == placement:
                continue
            shape = self.shapes.get(placement.shape)
            if shape is None:
                self._unshaped.setdefault(placement.shape, set()).add(group.key)
                continue
            self.capacity.take(placement.node, (*group.key, slot), shape.demand)
            group.held[slot] = placement
        if changed:
            self.listeners.room_changed()

    # -- jobs -----------------------------------------------------------------------------------------------------

    def see_job(self, job: AIJob) -> None:
        """An AIJob as the watch or the answer to an own write tells it; older states change nothing."""
        key = _job_key(job)
        group = self.groups.setdefault(key, Group(key))
        known = group.job
        if known is not None and not _is_newer(job.metadata.resource_version, known.metadata.resource_version):
            return
        group.job = job
        if known is None or known.metadata.uid != job.metadata.uid:
            self.address_changed(key)
        if job.status.phase not in TERMINAL:
            self._learn_template(job)
        else:
            self._hold_job_shape(key, "")
        self.listeners.group_changed(key)

    def lose_job(self, job: AIJob) -> None:
        """Its object is gone, if it is the one that is known."""
        group = self.groups.get(_job_key(job))
        if group is None or group.job is None or group.job.metadata.uid != job.metadata.uid:
            return
        group.job = None
        self.catalog.forget(job)
        self._hold_job_shape(group.key, "")
        self.listeners.group_changed(group.key)
        self.address_changed(group.key)
        self._forget_if_idle(group)

    def see_queue(self, queue: AIJobQueue) -> None:
        key = queue.metadata.namespace, queue.metadata.name
        known = self.catalog.queues.get(key)
        self.catalog.queues[key] = queue
        if known is not None and known.spec == queue.spec:
            return  # only counts, which we have written ourselves
        self._jobs_changed(lambda job: (job.metadata.namespace, job.spec.queue) == _name_of(queue))

    def lose_queue(self, queue: AIJobQueue) -> None:
        self.catalog.queues.pop((queue.metadata.namespace, queue.metadata.name), None)
        self._jobs_changed(lambda job: (job.metadata.namespace, job.spec.queue) == _name_of(queue))

    def see_cluster(self, cluster: ComputeCluster) -> None:
        known = self.catalog.clusters.get(cluster.metadata.name)
        self.catalog.clusters[cluster.metadata.name] = cluster
        if known is not None and known.spec == cluster.spec:
            return
        self._jobs_changed(lambda job: job.spec.cluster == cluster.metadata.name)

    def lose_cluster(self, cluster: ComputeCluster) -> None:
        self.catalog.clusters.pop(cluster.metadata.name, None)
        self._jobs_changed(lambda job: job.spec.cluster == cluster.metadata.name)

    def _jobs_changed(self, concerns: Callable[[AIJob], bool]) -> None:
        """Limits, defaults or nodes of some jobs are others now: they are planned anew."""
        for group in self.groups.values():
            if group.job is not None and group.job.status.phase not in TERMINAL and concerns(group.job):
                self._learn_template(group.job)
                self.listeners.group_changed(group.key)
        self.listeners.room_changed()

    def _learn_template(self, job: AIJob) -> None:
        """What its members ask for has to be known before there are any."""
        try:
            template = self.catalog.template(job)
        except QuantityError as error:
            log.warning("job cannot be read", namespace=job.metadata.namespace, job=job.metadata.name, error=str(error))
            return
        self._hold_job_shape(_job_key(job), template.shape, template.example)

    def _hold_job_shape(self, key: GroupKey, shape: str, example: Pod | None = None) -> None:
        """A job that has not ended knows its shape without any pod; no shape lets go of the one held before."""
        before = self._job_shapes.pop(key, "")
        if shape and example is not None:
            self._job_shapes[key] = shape
            if self.shapes.enter(shape, example):
                self._settle_unshaped(shape)
        if before:
            self.shapes.leave(before)

    # -- nodes, namespaces, the fence -----------------------------------------------------------------------------

    def see_node(self, node: Node) -> None:
        name = node.metadata.name
        before = self.nodes.get(name)
        self.nodes[name] = node
        try:
            changed = self.capacity.upsert_node(node)
        except QuantityError as error:
            log.warning("node cannot be read and gets no pods", node=name, error=str(error))
            changed = self.capacity.remove_node(name)
        if changed or before is None:
            self._node_changed(name)

    def lose_node(self, node: Node) -> None:
        self.nodes.pop(node.metadata.name, None)
        self.capacity.remove_node(node.metadata.name)
        self._node_changed(node.metadata.name)

    def see_namespace(self, namespace: Namespace) -> None:
        is_managed = namespace.metadata.labels.get(MANAGED_LABEL) == "true"
        self._set_managed(namespace.metadata.name, is_managed=is_managed)

    def lose_namespace(self, namespace: Namespace) -> None:
        self._set_managed(namespace.metadata.name, is_managed=False)

    def see_fence(self, term: PlacementTerm) -> None:
        """The newest fence known; the singleton of another name is nobody's."""
        if term.metadata.name != PLACEMENT_TERM:
            return
        if self.fence is None or term.spec >= self.fence:
            self.fence, self.fence_version = term.spec, term.metadata.resource_version

    def read_tickets_again(self, read_ticket: ReadTicket) -> None:
        """The key has changed: every ticket has to be believed anew."""
        self.read_ticket = read_ticket
        for uid, (pod, member) in list(self._pods.items()):
            if member is not None and member.ticket_text:
                fresh = read_member(pod, None, read_ticket)
                self._pods[uid] = (pod, fresh)
                self._file(fresh, member)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _read(self, pod: Pod, known: tuple[Pod, Member | None] | None) -> Member | None:
        if not needs_gate(pod, self._gpu_resources):
            return None
        previous = (known[0], known[1]) if known is not None and known[1] is not None else None
        return read_member(pod, previous, self.read_ticket)

    def _count_shape(self, pod: Pod, member: Member | None, before: Member | None) -> None:
        """Plans may be known before any pod of their shape: only now their slots can take room."""
        old, new = before.shape if before is not None else "", member.shape if member is not None else ""
        if new and new != old and self.shapes.enter(new, pod):
            self._settle_unshaped(new)
        if old and new != old:
            self.shapes.leave(old)

    def _settle_unshaped(self, shape: str) -> None:
        for key in self._unshaped.pop(shape, ()):
            group = self.groups.get(key)
            if group is not None:
                self.settle_group(group)

    def _file(self, member: Member, before: Member | None) -> None:
        if before is not None and before.gang_name != member.gang_name:
            self._unfile(before)
        is_news = before is None or before != msgspec.structs.replace(member, version=before.version)
        if member.label:
            key = (member.namespace, member.gang_name)
            group = self.groups.setdefault(key, Group(key))
            is_awaited = before is None and group.is_awaited(member)
            group.see_member(member)
            self._settle_slot(group, member)
            if is_news and _has_moved(before, member):
                self.address_changed(key)
            if is_news:
                self._tell_of_member(group, before, member, is_awaited=is_awaited)
            return
        self.singles[member.uid] = member
        if is_news:
            self.listeners.single_changed(member.uid)

    def _tell_of_member(self, group: Group, before: Member | None, member: Member, *, is_awaited: bool) -> None:
        """What was expected to come, and all bindings of a gang but its last, ask for no decision."""
        is_quiet = is_awaited
        if before is not None:
            is_quiet = _is_only_state(before, member) or (bool(group.held) and _is_only_bound(before, member))
        (self.listeners.group_stirred if is_quiet else self.listeners.group_changed)(group.key)

    def _unfile(self, member: Member, *, is_gone: bool = False) -> None:
        if not member.label:
            self.singles.pop(member.uid, None)
            self.listeners.single_changed(member.uid)
            return
        key = (member.namespace, member.gang_name)
        group = self.groups.get(key)
        if group is None:
            return
        if is_gone:
            group.lose_member(member.uid)
        else:
            group.members.pop(member.uid, None)
        if member.reachable_at:
            self.address_changed(key)
        self._settle_slot(group, member)
        self.listeners.group_changed(key)
        self._forget_if_idle(group)

    def _settle_slot(self, group: Group, member: Member) -> None:
        """Like `settle_group`, for the one slot that a change of this pod can matter to."""
        gang, ticket = group.gang, member.ticket
        if gang is None or ticket is None or not member.holds(gang.spec.id, gang.status.epoch):
            return
        still = group.members.get(member.uid)
        if ticket.slot in group.held and (still is None or not still.is_unbound) and ticket.slot not in group.reserving:
            self.capacity.give(group.held.pop(ticket.slot).node, (*group.key, ticket.slot))
            self.listeners.room_changed()

    def _replace_gang(self, group: Group, gang: Gang | None) -> None:
        for placement in group.plan.values():
            self._groups_on.get(placement.node, set()).discard(group.key)
        before = group.gang
        took_of_limits = before is not None and before.status.phase not in ENDED_PHASES
        if before is None or gang is None or before.status.epoch != gang.status.epoch:
            self.address_changed(group.key)
        group.see_gang(gang)
        for placement in group.plan.values():
            self._groups_on.setdefault(placement.node, set()).add(group.key)
        self.settle_group(group)
        self.listeners.group_changed(group.key)
        if group.is_of_job and took_of_limits and (gang is None or gang.status.phase in ENDED_PHASES):
            # What it took of its queue's and cluster's limits is free again.
            self.listeners.room_changed()
        self._forget_if_idle(group)

    def _forget_if_idle(self, group: Group) -> None:
        if group.is_idle:
            self.groups.pop(group.key, None)

    def _node_changed(self, name: str) -> None:
        for key in tuple(self._groups_on.get(name, ())):
            self.listeners.group_changed(key)
        for member in self.singles.values():
            if member.stage is Stage.OPEN and member.ticket is not None and member.ticket.node == name:
                self.listeners.single_changed(member.uid)
        self.listeners.nodes_changed()

    def _set_managed(self, namespace: str, *, is_managed: bool) -> None:
        if is_managed == (namespace in self.managed):
            return
        (self.managed.add if is_managed else self.managed.discard)(namespace)
        for key in self.groups:
            if key[0] == namespace:
                self.listeners.group_changed(key)
        for member in self.singles.values():
            if member.namespace == namespace:
                self.listeners.single_changed(member.uid)


def _is_only_state(before: Member, member: Member) -> bool:
    """Whether a job's pod has only begun to run, or waits for its image."""
    return before == msgspec.structs.replace(member, version=before.version, state=before.state, address=before.address)


def _is_only_bound(before: Member, member: Member) -> bool:
    """Whether a pod has only got the node that it was let go for."""
    if before.stage is not Stage.OPEN or member.stage is not Stage.BOUND:
        return False
    as_before = {"version": before.version, "stage": before.stage, "node": before.node, "refusal": before.refusal}
    return before == msgspec.structs.replace(member, state=before.state, address=before.address, **as_before)


def _has_moved(before: Member | None, member: Member) -> bool:
    """Whether a pod can be reached elsewhere now, not any more, or for another try of its gang."""
    if before is None:
        return bool(member.reachable_at)
    return before.reachable_at != member.reachable_at or before.ticket != member.ticket


def _group_key(gang: Gang) -> GroupKey:
    return gang.metadata.namespace, gang.metadata.name


def _job_key(job: AIJob) -> GroupKey:
    return job.metadata.namespace, job_gang_name(job.metadata.name)


def _name_of(queue: AIJobQueue) -> tuple[str, str]:
    return queue.metadata.namespace, queue.metadata.name


def _is_newer(version: str, known: str) -> bool:
    """Resource versions of one resource are ordered numbers, as the API server has promised since 1.35."""
    if version.isdigit() and known.isdigit():
        return int(version) > int(known)
    return version != known
