"""The parts of Kubernetes objects that Muster reads, as structs that decode in microseconds.

Fields that nobody here reads are skipped while decoding. Structs stay out of the garbage collector's sight: caches hold
tens of thousands of them and none can be part of a cycle.
"""

from __future__ import annotations

from typing import Any

import msgspec


class KubernetesStruct(msgspec.Struct, rename="camel", frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Base of everything read from the API server: camelCase on the wire, immutable in memory."""


class OwnerReference(KubernetesStruct, frozen=True, kw_only=True):
    kind: str
    name: str
    uid: str
    api_version: str = ""
    controller: bool = False


class ObjectMeta(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    generate_name: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def controller_owner(self) -> OwnerReference | None:
        """The one owner that makes this object anew when it is gone."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class ResourceRequirements(KubernetesStruct, frozen=True, kw_only=True):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class ContainerPort(KubernetesStruct, frozen=True, kw_only=True):
    host_port: int = 0


class Container(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    resources: ResourceRequirements = ResourceRequirements()
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""


class Requirement(KubernetesStruct, frozen=True, kw_only=True):
    """One expression of a node selector term."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeSelectorTerm(KubernetesStruct, frozen=True, kw_only=True):
    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class NodeSelector(KubernetesStruct, frozen=True, kw_only=True):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(KubernetesStruct, frozen=True, kw_only=True):
    required: NodeSelector | None = msgspec.field(default=None, name="requiredDuringSchedulingIgnoredDuringExecution")


class PodAffinity(KubernetesStruct, frozen=True, kw_only=True):
    required: tuple[dict[str, Any], ...] = msgspec.field(
        default=(), name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(KubernetesStruct, frozen=True, kw_only=True):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(KubernetesStruct, frozen=True, kw_only=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class SchedulingGate(KubernetesStruct, frozen=True, kw_only=True):
    name: str


class TopologySpreadConstraint(KubernetesStruct, frozen=True, kw_only=True):
    topology_key: str = ""
    when_unsatisfiable: str = "DoNotSchedule"


class ClaimSource(KubernetesStruct, frozen=True, kw_only=True):
    claim_name: str = ""


class Volume(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    persistent_volume_claim: ClaimSource | None = None
    ephemeral: dict[str, Any] | None = None


class PodSpec(KubernetesStruct, frozen=True, kw_only=True):
    node_name: str = ""
    scheduler_name: str = "default-scheduler"
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    overhead: dict[str, str] = {}
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    scheduling_group: dict[str, Any] | None = None
    priority: int | None = None
    priority_class_name: str = ""
    preemption_policy: str = ""
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()
    resource_claims: tuple[dict[str, Any], ...] = ()
    resources: ResourceRequirements | None = None
    host_network: bool = False


class Condition(KubernetesStruct, frozen=True, kw_only=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int = 0


class ContainerTerminated(KubernetesStruct, frozen=True, kw_only=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class ContainerWaiting(KubernetesStruct, frozen=True, kw_only=True):
    reason: str = ""
    message: str = ""


class ContainerState(KubernetesStruct, frozen=True, kw_only=True):
    terminated: ContainerTerminated | None = None
    waiting: ContainerWaiting | None = None


class ContainerStatus(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    state: ContainerState = ContainerState()


class PodStatus(KubernetesStruct, frozen=True, kw_only=True):
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    container_statuses: tuple[ContainerStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()
    nominated_node_name: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")


class Pod(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_terminal(self) -> bool:
        """Whether it has run to its end and holds no resources any more."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def is_bound(self) -> bool:
        return bool(self.spec.node_name)

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    def condition(self, kind: str) -> Condition | None:
        """Its condition of this type, if it has one."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)


class Taint(KubernetesStruct, frozen=True, kw_only=True):
    key: str
    effect: str
    value: str = ""


class NodeSpec(KubernetesStruct, frozen=True, kw_only=True):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(KubernetesStruct, frozen=True, kw_only=True):
    allocatable: dict[str, str] = {}
    conditions: tuple[Condition, ...] = ()


class Node(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        """Whether its kubelet says so and nobody has begun to delete it."""
        ready = any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
        return ready and self.metadata.deletion_timestamp is None


class Namespace(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()


class Secret(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


class ServiceSpec(KubernetesStruct, frozen=True, kw_only=True):
    selector: dict[str, str] = {}


class Service(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(KubernetesStruct, frozen=True, kw_only=True):
    ready: bool | None = None


class TargetReference(KubernetesStruct, frozen=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(KubernetesStruct, frozen=True, kw_only=True):
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    target_ref: TargetReference | None = None


class EndpointSlice(KubernetesStruct, frozen=True, kw_only=True):
    """Go writes a list that is empty as null."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[dict[str, Any], ...] | None = None
