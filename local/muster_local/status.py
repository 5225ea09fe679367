"""What `muster local status` tells, in the shape that its JSON output promises."""

from __future__ import annotations

import msgspec

from muster_local import nodes
from muster_local.api_client import ApiClient
from muster_local.components import START_ORDER, Component
from muster_local.errors import ApiError, ApiUnreachableError
from muster_local.instance import Instance
from muster_local.launcher import runs
from muster_local.layout import StateLayout


class ComponentStatus(msgspec.Struct, frozen=True):
    """One process; no pid when it does not run."""

    name: str
    pid: int | None
    running: bool
    url: str


class NodeCounts(msgspec.Struct, frozen=True):
    """How many nodes of each kind the API server knows."""

    simulated: int
    process: int


class ClusterStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The whole instance."""

    kubeconfig: str
    state_dir: str
    components: list[ComponentStatus]
    nodes: NodeCounts

    def component(self, name: str) -> ComponentStatus:
        """One component's part; an unknown name raises KeyError."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(name)


def read_status(layout: StateLayout, instance: Instance) -> ClusterStatus:
    """Asks the processes and the API server."""
    wanted = [str(component) for component in START_ORDER if instance.options.wants(component)]
    wanted += instance.options.process_node_names
    further = [name for name in instance.processes if name not in wanted]
    return ClusterStatus(
        kubeconfig=str(layout.kubeconfig("admin")),
        state_dir=str(layout.root),
        components=[_component(name, instance) for name in [*wanted, *further]],
        nodes=_count_nodes(layout, instance),
    )


def _component(name: str, instance: Instance) -> ComponentStatus:
    running = runs(name, instance)
    pid = instance.processes[name].pid if running else None
    return ComponentStatus(name=name, pid=pid, running=running, url=instance.url(name))


def _count_nodes(layout: StateLayout, instance: Instance) -> NodeCounts:
    if not runs(Component.API_SERVER, instance):
        return NodeCounts(simulated=0, process=0)
    client = ApiClient.from_kubeconfig(layout.kubeconfig("admin"))
    try:
        return NodeCounts(simulated=len(nodes.node_names(client)), process=len(nodes.process_node_names(client)))
    except (ApiError, ApiUnreachableError):
        return NodeCounts(simulated=0, process=0)
    finally:
        client.close()
