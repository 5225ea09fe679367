"""Starting one component of an instance and waiting until it is ready."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from muster_local.commands import LOOPBACK, SERVICE_MODULES, command_for, node_lease_seconds
from muster_local.components import (
    PORT_OFFSETS,
    REPLICA_OFFSETS,
    SERVICES,
    STORES,
    Component,
    component_of,
)
from muster_local.errors import LocalError
from muster_local.instance import Instance
from muster_local.layout import StateLayout
from muster_local.pki import AUTHORITY
from muster_local.processes import ProcessRecord, is_running, spawn
from muster_local.readiness import answers, await_ready, probe_for
from muster_local.stores.starting import start_store, store_answers

# A fault is injected into the process that a test names, never into whatever starts from its shell.
_NOT_INHERITED = ("KUBECONFIG", "MUSTER_FAILPOINTS", "MUSTER_FAILPOINTS_LOG")
_NEVER_PROXIED = "127.0.0.1,localhost"


def is_available(component: Component) -> bool:
    """Whether the component's program exists: a service may be left out of an installation."""
    if component not in SERVICE_MODULES:
        return True
    module, _ = SERVICE_MODULES[component]
    try:
        return importlib.util.find_spec(f"{module}.__main__") is not None
    except ModuleNotFoundError:
        return False


def launch(
    name: str, instance: Instance, layout: StateLayout, overrides: Mapping[str, str] | None = None
) -> ProcessRecord:
    """Starts the process and records it; readiness is awaited separately, so that several start at once."""
    ensure_port(name, instance)
    if component_of(name) in STORES:
        record = start_store(name, layout.stores, instance.ports[name], layout.log(name))
        instance.processes[str(name)] = record
        return record
    environment = process_environment(name, instance, layout) | dict(overrides or {})
    record = spawn(command_for(name, instance, layout), environment, layout.log(name))
    instance.processes[str(name)] = record
    return record


def await_launched(name: str, instance: Instance, layout: StateLayout) -> None:
    """Returns once a launched process answers its readiness probe."""
    record = instance.processes[name]
    await_ready(name, record, readiness_of(name, record, instance, layout), layout.log(name))


def readiness_of(name: str, record: ProcessRecord, instance: Instance, layout: StateLayout) -> Callable[[], bool]:
    """How to ask whether the process is ready."""
    if component_of(name) in STORES:
        return partial(store_answers, name, layout.stores, instance.ports[name], record.pid)
    return partial(answers, probe_for(name, instance, layout))


def runs(name: str, instance: Instance) -> bool:
    """Whether the recorded process of that name is alive."""
    record = instance.processes.get(name)
    return record is not None and is_running(record)


def ensure_port(name: str, instance: Instance) -> None:
    """Gives a further replica a port of the instance's block."""
    if name in instance.ports:
        return
    if name in PORT_OFFSETS:
        # The record is of a version that did not know this component.
        instance.ports[name] = instance.first_port + PORT_OFFSETS[name]
        return
    block = [instance.first_port + offset for offset in REPLICA_OFFSETS]
    free = [port for port in block if port not in instance.ports.values()]
    if not free:
        raise LocalError(f"no port left for {name}: an instance has room for {len(block)} further replicas")
    instance.ports[name] = free[0]


def process_environment(name: str, instance: Instance, layout: StateLayout) -> dict[str, str]:
    """What a process inherits; proxies stay out of loopback traffic."""
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    inherited |= {"NO_PROXY": _NEVER_PROXIED, "no_proxy": _NEVER_PROXIED}
    if component_of(name) is Component.PROCESS_NODE:
        return inherited | process_node_environment(name, instance, layout)
    if component_of(name) not in SERVICES:
        return inherited
    return inherited | {
        "KUBECONFIG": str(service_kubeconfig(name, layout)),
        "MUSTER_IDENTITY": name,
        "MUSTER_LISTEN_HOST": LOOPBACK,
        "MUSTER_LISTEN_PORT": str(instance.ports[name]),
        "PYTHONUNBUFFERED": "1",
    }


def process_node_environment(name: str, instance: Instance, layout: StateLayout) -> dict[str, str]:
    """The settings of a process node."""
    options = instance.options
    settings = {
        "NAME": name,
        "FOLDER": layout.process_nodes,
        "LISTEN_HOST": LOOPBACK,
        "LISTEN_PORT": instance.ports[name],
        "AUTHORITY": layout.certificate(AUTHORITY),
        "CERTIFICATE": layout.certificate(name),
        "PRIVATE_KEY": layout.private_key(name),
        "CPU": options.process_cpu,
        "MEMORY": options.process_memory,
        "GPUS": options.process_gpus,
        "LEASE_SECONDS": node_lease_seconds(instance),
        "BACKOFF_SCALE": options.backoff_scale,
        **({"IMAGES": options.images} if options.images else {}),
    }
    own = {f"MUSTER_NODE_{key}": str(value) for key, value in settings.items()}
    return own | {"KUBECONFIG": str(layout.kubeconfig(name)), "PYTHONUNBUFFERED": "1"}


def service_kubeconfig(name: str, layout: StateLayout) -> Path:
    """The kubeconfig of the service behind a process; its replicas share the ServiceAccount."""
    return layout.kubeconfig(component_of(name))
