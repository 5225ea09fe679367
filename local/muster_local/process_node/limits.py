"""What a pod asks for that processes of one machine cannot be given; said in one event, never silently; pure."""

from __future__ import annotations

from collections.abc import Iterator

from muster_api.names import JOB_LABEL, PREFIX
from muster_local.process_node.launching import CHECKPOINT_VARIABLE, job_uid
from muster_local.process_node.objects import Container, Pod
from muster_local.process_node.supervisor.launch import Isolation

_MOUNTED_ELSEWHERE = "volumes at their paths, /etc/hosts and the host name (no mount namespace may be made here)"


def not_honoured(pod: Pod, isolation: Isolation) -> list[str]:
    """Each thing in a few words, in a lasting order."""
    found = ["image contents"]
    found += _of_pod(pod)
    for container in pod.all_containers:
        found += [f"{words} ({container.name})" for words in _of_container(container)]
    if isolation is Isolation.NONE:
        found.append(_MOUNTED_ELSEWHERE)
    return list(dict.fromkeys(found))


def _of_pod(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    flags = {
        "hostNetwork": spec.host_network,
        "hostPID": spec.host_pid,
        "hostIPC": spec.host_ipc,
        "resourceClaims": spec.resource_claims,
        "runtimeClassName": spec.runtime_class_name,
        "dnsConfig": spec.dns_config,
        "ephemeralContainers": spec.ephemeral_containers,
        "securityContext": spec.security_context,
    }
    yield from (name for name, value in flags.items() if value)
    if JOB_LABEL in pod.metadata.labels and job_uid(pod) is None:
        yield f"{CHECKPOINT_VARIABLE} (no AIJob is the pod's controller)"
    for volume in spec.volumes:
        if not volume.is_known:
            yield f"volume {volume.name} (of a kind that is not known here, such as hostPath)"
        elif volume.empty_dir is not None and (volume.empty_dir.medium or volume.empty_dir.size_limit):
            yield f"medium and sizeLimit of volume {volume.name}"
        elif volume.projected is not None and any(entry.cluster_trust_bundle for entry in volume.projected.sources):
            yield f"clusterTrustBundle in volume {volume.name}"


def _of_container(container: Container) -> Iterator[str]:
    flags = {
        "limits of cpu and memory": set(container.resources.limits) & {"cpu", "memory", "ephemeral-storage"},
        "devices": [name for name in container.resources.limits if "/" in name and not name.startswith(PREFIX)],
        "securityContext": container.security_context,
        "lifecycle hooks": container.lifecycle,
        "volumeDevices": container.volume_devices,
        "stdin and tty": container.stdin or container.tty,
    }
    yield from (name for name, value in flags.items() if value)
    yield from (f"{name} by gRPC" for name, probe in container.probes.items() if not probe.is_known)
