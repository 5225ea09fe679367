"""The record of one instance, kept in its state folder so that every later command finds it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from muster_local.components import PORT_OFFSETS, Component
from muster_local.errors import InstanceMissingError, LocalError
from muster_local.layout import StateLayout
from muster_local.options import ClusterOptions
from muster_local.processes import ProcessRecord
from muster_local.secure_files import write_private

_SCHEMES: dict[str, str] = {
    Component.EXTENDER: "http",
    Component.CONTROLLER: "http",
    Component.API: "http",
    Component.KWOK: "http",
    Component.POSTGRES: "postgresql",
    Component.REDIS: "redis",
}


class Instance(msgspec.Struct, rename="camel", kw_only=True):
    """What was decided at the first start, and the processes started since."""

    options: ClusterOptions
    ports: dict[str, int]
    first_port: int
    binaries: dict[str, str] = {}
    processes: dict[str, ProcessRecord] = {}

    def url(self, name: str) -> str:
        """Where a process answers, without passwords; the webhook and Kubernetes itself speak TLS."""
        scheme = _SCHEMES.get(name.partition("@")[0], "https")
        # A process node that was never started has no port yet.
        return f"{scheme}://127.0.0.1:{self.ports[name]}" if name in self.ports else ""


def new_instance(options: ClusterOptions, first_port: int) -> Instance:
    """A record with its ports laid out from the claimed block."""
    return Instance(options=options, ports=port_layout(first_port), first_port=first_port)


def port_layout(first_port: int) -> dict[str, int]:
    """The port of every component inside a claimed block."""
    return {str(name): first_port + offset for name, offset in PORT_OFFSETS.items()}


def load(layout: StateLayout) -> Instance:
    """The record of the state folder; an error that says what to do when there is none."""
    try:
        return msgspec.json.decode(layout.instance_file.read_bytes(), type=Instance)
    except FileNotFoundError:
        raise InstanceMissingError(f"no control plane in {layout.root}; start one with `muster local up`") from None
    except msgspec.MsgspecError as error:
        raise LocalError(f"{layout.instance_file} is not an instance record: {error}") from error


def load_or_none(layout: StateLayout) -> Instance | None:
    """The record, or nothing when the state folder is new."""
    return load(layout) if layout.instance_file.exists() else None


def save(layout: StateLayout, instance: Instance) -> None:
    """Writes the record in one step; readers see the old one or the new one."""
    data: Any = msgspec.json.encode(instance)
    write_private(layout.instance_file, msgspec.json.format(data, indent=2) + b"\n")


def state_layout(state_dir: Path | str) -> StateLayout:
    """The layout below an absolute path, since recorded commands are run from anywhere."""
    return StateLayout(Path(state_dir).expanduser().absolute())
