"""What an instance is made of: the choices of `muster local up`, remembered for later starts."""

from __future__ import annotations

from typing import Any

import msgspec

from muster_local.components import SERVICES, Component
from muster_local.errors import LocalError


class ClusterOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The choices of one instance; each has a default that suits a laptop."""

    nodes: int = 4
    gpus: int = 8
    cpu: str = "64"
    memory: str = "256Gi"
    pods: int = 1000
    zones: int = 2
    racks: int = 4
    # False: the stock scheduler alone, without our extender entries and services; benchmarks compare against it.
    muster: bool = True
    # Components that are not started, for a faster start or a fault from the beginning.
    without: tuple[str, ...] = ()
    # True: nobody plays kubelet, so that a benchmark measures creating and binding alone.
    bare: bool = False

    def wants(self, component: Component) -> bool:
        """Whether this instance runs the component at all."""
        if component in SERVICES and not self.muster:
            return False
        return component not in self.without


def with_changes(options: ClusterOptions, changes: dict[str, Any]) -> ClusterOptions:
    """The options with some replaced, refused with all names when one does not exist."""
    unknown = sorted(set(changes) - set(ClusterOptions.__struct_fields__))
    if unknown:
        known = ", ".join(ClusterOptions.__struct_fields__)
        raise LocalError(f"unknown option {', '.join(unknown)}; known are {known}")
    given = {name: value for name, value in changes.items() if value is not None}
    if "without" in given:
        given["without"] = tuple(given["without"])
    changed = msgspec.structs.replace(options, **given)
    _check(changed)
    return changed


def _check(options: ClusterOptions) -> None:
    known = {str(component) for component in Component}
    unknown = sorted(set(options.without) - known)
    if unknown:
        raise LocalError(f"unknown component {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    if options.nodes < 0 or options.gpus < 0:
        raise LocalError("the number of nodes and of GPUs cannot be negative")
    if options.zones < 1 or options.racks < 1 or options.pods < 1:
        raise LocalError("zones, racks and pods per node must be at least 1")
