"""The parts of pods, ConfigMaps and Secrets that a kubelet reads."""

from __future__ import annotations

from typing import Any

import msgspec

from muster_api.objects import KubernetesStruct, ObjectMeta, ResourceRequirements
from muster_local.process_node.probe_rules import Port, Probe


class KeySelector(KubernetesStruct, frozen=True, kw_only=True):
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class FieldSelector(KubernetesStruct, frozen=True, kw_only=True):
    field_path: str


class ResourceFieldSelector(KubernetesStruct, frozen=True, kw_only=True):
    resource: str
    container_name: str = ""
    divisor: str = "0"


class VariableSource(KubernetesStruct, frozen=True, kw_only=True):
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class Variable(KubernetesStruct, frozen=True, kw_only=True):
    name: str
    value: str = ""
    value_from: VariableSource | None = None


class ObjectSelector(KubernetesStruct, frozen=True, kw_only=True):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class VariablesSource(KubernetesStruct, frozen=True, kw_only=True):
    prefix: str = ""
    config_map_ref: ObjectSelector | None = None
    secret_ref: ObjectSelector | None = None


class VolumeMount(KubernetesStruct, frozen=True, kw_only=True):
    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False


class KeyToPath(KubernetesStruct, frozen=True, kw_only=True):
    key: str
    path: str
    mode: int | None = None


class ConfigMapVolume(KubernetesStruct, frozen=True, kw_only=True):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretVolume(KubernetesStruct, frozen=True, kw_only=True):
    secret_name: str = ""
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class DownwardFile(KubernetesStruct, frozen=True, kw_only=True):
    path: str
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardVolume(KubernetesStruct, frozen=True, kw_only=True):
    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class TokenSource(KubernetesStruct, frozen=True, kw_only=True):
    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class ProjectedSource(KubernetesStruct, frozen=True, kw_only=True):
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downward: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    service_account_token: TokenSource | None = None
    cluster_trust_bundle: dict[str, Any] | None = None


class ProjectedVolume(KubernetesStruct, frozen=True, kw_only=True):
    sources: tuple[ProjectedSource, ...] = ()
    default_mode: int = 0o644


class EmptyFolder(KubernetesStruct, frozen=True, kw_only=True):
    medium: str = ""
    size_limit: str | None = None


class ClaimVolume(KubernetesStruct, frozen=True, kw_only=True):
    claim_name: str
    read_only: bool = False


class Volume(KubernetesStruct, frozen=True, kw_only=True):
    """One volume; `kinds` would be more, the ones without a field here are not honoured."""

    name: str
    empty_dir: EmptyFolder | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    projected: ProjectedVolume | None = None
    downward: DownwardVolume | None = msgspec.field(default=None, name="downwardAPI")
    persistent_volume_claim: ClaimVolume | None = None

    @property
    def is_known(self) -> bool:
        return any(
            source is not None
            for source in (
                self.empty_dir,
                self.config_map,
                self.secret,
                self.projected,
                self.downward,
                self.persistent_volume_claim,
            )
        )


class Container(KubernetesStruct, frozen=True, kw_only=True):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[Variable, ...] = ()
    env_from: tuple[VariablesSource, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[dict[str, Any], ...] = ()
    ports: tuple[Port, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: dict[str, Any] | None = None
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    security_context: dict[str, Any] | None = None
    restart_policy: str = ""
    stdin: bool = False
    tty: bool = False

    @property
    def is_sidecar(self) -> bool:
        """An init container that runs beside the others."""
        return self.restart_policy == "Always"

    @property
    def probes(self) -> dict[str, Probe]:
        """Its probes by their names in the spec."""
        found = {
            "startupProbe": self.startup_probe,
            "readinessProbe": self.readiness_probe,
            "livenessProbe": self.liveness_probe,
        }
        return {name: probe for name, probe in found.items() if probe is not None}

    @property
    def has_known_probes(self) -> bool:
        return any(probe.is_known for probe in self.probes.values())


class HostAlias(KubernetesStruct, frozen=True, kw_only=True):
    ip: str
    hostnames: tuple[str, ...] = ()


class ReadinessGate(KubernetesStruct, frozen=True, kw_only=True):
    condition_type: str


class PodSpec(KubernetesStruct, frozen=True, kw_only=True):
    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[dict[str, Any], ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    hostname: str = ""
    subdomain: str = ""
    host_aliases: tuple[HostAlias, ...] = ()
    volumes: tuple[Volume, ...] = ()
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    service_account_name: str = "default"
    security_context: dict[str, Any] | None = None
    readiness_gates: tuple[ReadinessGate, ...] = ()
    resource_claims: tuple[dict[str, Any], ...] = ()
    runtime_class_name: str = ""
    dns_config: dict[str, Any] | None = None


class PodMeta(ObjectMeta, frozen=True, kw_only=True):
    deletion_grace_period_seconds: int | None = None


class Pod(KubernetesStruct, frozen=True, kw_only=True):
    """A pod as its kubelet sees it; the status stays as it came, to be compared with what it should be."""

    metadata: PodMeta = PodMeta()
    spec: PodSpec = PodSpec()
    status: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", "Pending"))

    @property
    def is_terminal(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def hostname(self) -> str:
        """What the pod calls itself: its own choice, else its name."""
        return (self.spec.hostname or self.metadata.name)[:63].rstrip("-.")

    @property
    def all_containers(self) -> tuple[Container, ...]:
        return (*self.spec.init_containers, *self.spec.containers)


class PeerSpec(KubernetesStruct, frozen=True, kw_only=True):
    hostname: str = ""
    subdomain: str = ""


class PeerStatus(KubernetesStruct, frozen=True, kw_only=True):
    pod_ip: str = msgspec.field(default="", name="podIP")
    phase: str = ""


class Peer(KubernetesStruct, frozen=True, kw_only=True):
    """Any pod of the cluster, as far as another one may want its address."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PeerSpec = PeerSpec()
    status: PeerStatus = PeerStatus()


class ConfigMap(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, str] = msgspec.field(default_factory=dict)


class Secret(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)
