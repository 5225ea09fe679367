"""From a container of a pod to the process that stands for it; pure but for folders that have to exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING
from pathlib import Path, PurePosixPath
from typing import Final

from muster_api.names import JOB_LABEL, PREFIX
from muster_api.quantities import parse_quantity
from muster_local.process_node.environment import ConfigurationError, expand
from muster_local.process_node.folders import NodeFolders
from muster_local.process_node.images import ImageEntry, command_line, search_path
from muster_local.process_node.objects import Container, Pod, Volume, VolumeMount
from muster_local.process_node.supervisor.launch import Isolation, Launch, Mount

CHECKPOINT_VARIABLE: Final = "MUSTER_CHECKPOINT_DIR"
TERMINATION_LOG_VARIABLE: Final = "MUSTER_TERMINATION_LOG"
HOSTS_PATH: Final = "/etc/hosts"
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine gives to a container besides its spec."""

    folders: NodeFolders
    isolation: Isolation
    api_server: tuple[str, int]
    termination_log: Path
    is_root: bool
    """Then so is whatever is started here."""


def compose_launch(
    pod: Pod, container: Container, entry: ImageEntry, variables: Mapping[str, str], around: Surroundings
) -> Launch:
    """The command, the environment and the mounts of one run."""
    if around.is_root and _must_not_be_root(pod, container):
        raise ConfigurationError(
            "container has runAsNonRoot and would run as root, as whoever started `muster local`; "
            "start that as another user, or leave runAsNonRoot out"
        )
    environment = default_variables(pod, container, entry, around) | dict(variables)
    argv = command_line(
        entry,
        [expand(word, environment) for word in container.command],
        [expand(word, environment) for word in container.args],
    )
    if not argv:
        raise ConfigurationError("no command specified: this image's environment has no default command")
    own = around.folders.pod(pod.uid).working_directory(container.name)
    own.mkdir(parents=True, exist_ok=True)
    directory = container.working_dir or str(own)
    isolated = around.isolation is not Isolation.NONE
    if not isolated and not Path(directory).is_dir():
        directory = str(own)
    return Launch(
        argv=argv,
        environment=environment,
        working_directory=directory,
        hostname=pod.hostname,
        isolation=around.isolation,
        mounts=list(container_mounts(pod, container, environment, around)) if isolated else [],
    )


def _must_not_be_root(pod: Pod, container: Container) -> bool:
    """What the container says, else what the pod says; runAsUser is not honoured and helps nobody."""
    said = [(context or {}).get("runAsNonRoot") for context in (container.security_context, pod.spec.security_context)]
    return bool(next((word for word in said if word is not None), False))


def default_variables(pod: Pod, container: Container, entry: ImageEntry, around: Surroundings) -> dict[str, str]:
    """Set before the pod's own, which win."""
    host, port = around.api_server
    variables = {
        "PATH": search_path(entry),
        "HOME": str(around.folders.pod(pod.uid).working_directory(container.name)),
        "HOSTNAME": pod.hostname,
        "LANG": "C.UTF-8",
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
        # Pods of one machine meet on its loopback interface.
        "GLOO_SOCKET_IFNAME": "lo",
        "NO_PROXY": f"localhost,127.0.0.0/8,{host}",
    }
    if threads := _requested_cpus(container):
        # Nothing limits a process to its share, but libraries that start a thread for each CPU can be asked to.
        variables["OMP_NUM_THREADS"] = str(threads)
    if around.isolation is Isolation.NONE:
        # Nothing can be mounted at terminationMessagePath, and the worker would have nowhere to say how it ended.
        variables[TERMINATION_LOG_VARIABLE] = str(around.termination_log)
    if job := job_uid(pod):
        checkpoints = around.folders.checkpoints(pod.metadata.namespace, job)
        checkpoints.mkdir(parents=True, exist_ok=True)
        variables[CHECKPOINT_VARIABLE] = str(checkpoints)
    return variables | entry.variables


def _requested_cpus(container: Container) -> int:
    amount = container.resources.limits.get("cpu") or container.resources.requests.get("cpu")
    return int(parse_quantity(amount).to_integral_value(ROUND_CEILING)) if amount else 0


def job_uid(pod: Pod) -> str | None:
    """Of the AIJob that the pod belongs to. Anybody may write anything there, and a folder gets this name."""
    owner = pod.metadata.controller_owner
    if JOB_LABEL not in pod.metadata.labels or owner is None:
        return None
    is_job = owner.kind == "AIJob" and owner.api_version.startswith(PREFIX)
    return owner.uid if is_job and _UID.fullmatch(owner.uid) else None


def container_mounts(
    pod: Pod, container: Container, variables: Mapping[str, str], around: Surroundings
) -> Iterator[Mount]:
    """The volumes at their paths, the hosts file, and where the container leaves its last words."""
    folder = around.folders.pod(pod.uid)
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    yield Mount(str(folder.hosts), HOSTS_PATH)
    yield Mount(str(around.termination_log), container.termination_message_path)
    for mount in container.volume_mounts:
        volume = volumes.get(mount.name)
        if volume is not None and volume.is_known:
            yield _volume_mount(pod, volume, mount, variables, around)


def _volume_mount(
    pod: Pod, volume: Volume, mount: VolumeMount, variables: Mapping[str, str], around: Surroundings
) -> Mount:
    claim = volume.persistent_volume_claim
    source = around.folders.pod(pod.uid).volume(volume.name)
    if claim is not None:
        source = around.folders.claim(pod.metadata.namespace, claim.claim_name)
    below = expand(mount.sub_path_expr, variables) or mount.sub_path
    if below:
        if PurePosixPath(below).is_absolute() or ".." in PurePosixPath(below).parts:
            raise ConfigurationError(f"subPath {below!r} leads out of volume {volume.name}")
        source /= below
        if not source.exists():
            source.mkdir(parents=True)
    is_written_by_us = claim is None and volume.empty_dir is None
    read_only = mount.read_only or is_written_by_us or (claim is not None and claim.read_only)
    return Mount(str(source), mount.mount_path, read_only)
