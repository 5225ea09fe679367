"""What an instance is made of: the choices of `muster local up`, remembered for later starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from muster_api.quantities import QuantityError, parse_quantity
from muster_local.components import MOST_PROCESS_NODES, SERVICES, STORES, Component, process_node_name
from muster_local.errors import LocalError
from muster_local.process_node.images import read_table
from muster_local.stores.urls import check_url

SIMULATED_GRACE_SECONDS = 300
PROCESS_GRACE_SECONDS = 40


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
    # Nodes whose pods are processes of this machine; what each advertises, empty for what the machine has.
    process_nodes: int = 0
    process_cpu: str = ""
    process_memory: str = ""
    process_gpus: int = 4
    # A YAML file that maps image names to environments of this machine.
    images: str = ""
    # Seconds without a sign of life after which a node is NotReady; 0 for what suits the kinds of nodes there are.
    node_grace_seconds: int = 0
    # With Postgres, Redis and the api: our own stores, or those at the given addresses (passwords included).
    # None: where this machine has them; decided at the first start.
    stores: bool | None = None
    postgres_url: str = ""
    redis_url: str = ""
    # Makes the pauses between restarts of a container on process nodes shorter, for tests.
    backoff_scale: float = 1.0

    def wants(self, component: Component) -> bool:
        """Whether this instance runs the component at all."""
        if component in SERVICES and not self.muster:
            return False
        if component in STORES and (not self.stores or self.store_url(component)):
            return False
        if component is Component.API and not self.stores:
            return False
        return component not in self.without

    def store_url(self, store: Component) -> str:
        """The address of a store that somebody else runs."""
        return {Component.POSTGRES: self.postgres_url, Component.REDIS: self.redis_url}[store]

    @property
    def process_node_names(self) -> list[str]:
        """The process nodes that belong to this instance."""
        return [process_node_name(number) for number in range(self.process_nodes)]

    @property
    def grace_seconds(self) -> int:
        """When a silent node is NotReady. Simulated nodes renew slowly, since there may be thousands of them."""
        return self.node_grace_seconds or (PROCESS_GRACE_SECONDS if self.process_nodes else SIMULATED_GRACE_SECONDS)


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
    for store in STORES:
        if options.store_url(store):
            check_url(store, options.store_url(store))
    _check_process_nodes(options)


def _check_process_nodes(options: ClusterOptions) -> None:
    if not 0 <= options.process_nodes <= MOST_PROCESS_NODES:
        raise LocalError(f"there can be up to {MOST_PROCESS_NODES} process nodes")
    if options.process_gpus < 0 or options.node_grace_seconds < 0 or options.backoff_scale <= 0:
        raise LocalError("GPUs, grace seconds and the back-off scale of process nodes cannot be negative")
    if options.images:
        read_table(Path(options.images))
    for amount in filter(None, (options.process_cpu, options.process_memory)):
        try:
            parse_quantity(amount)
        except QuantityError as error:
            raise LocalError(str(error)) from None
