"""The processes of a local control plane: their names, the order they start in, and their ports."""

from __future__ import annotations

import re
from enum import StrEnum


class Component(StrEnum):
    """One process; the value is its name everywhere: command line, log file, instance record."""

    POSTGRES = "postgres"
    REDIS = "redis"
    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    KWOK = "kwok"
    WEBHOOK = "webhook"
    EXTENDER = "extender"
    CONTROLLER = "controller"
    API = "api"
    PROCESS_NODE = "process-node"
    """Any number of them: process-node-0, process-node-1 ..."""


STORES = (Component.POSTGRES, Component.REDIS)
FOUNDATION = (Component.ETCD, Component.API_SERVER)
CLIENTS = (Component.CONTROLLER_MANAGER, Component.SCHEDULER, Component.KWOK)
SERVICES = (Component.WEBHOOK, Component.EXTENDER, Component.CONTROLLER, Component.API)
STORE_USERS = (Component.CONTROLLER, Component.API)
"""Services that Postgres and Redis are for."""
START_ORDER = (*STORES, *FOUNDATION, *CLIENTS, *SERVICES)
# Clients leave before what they talk to, so that their last writes and lease releases arrive.
STOP_WAVES = (
    (Component.PROCESS_NODE, *SERVICES, *CLIENTS),
    (Component.API_SERVER, *STORES),
    (Component.ETCD,),
)

# Offsets into the instance's block of ports.
PORT_OFFSETS: dict[str, int] = {
    Component.API_SERVER: 0,
    Component.ETCD: 1,
    "etcd-peer": 2,
    "etcd-metrics": 3,
    Component.CONTROLLER_MANAGER: 4,
    Component.SCHEDULER: 5,
    Component.KWOK: 6,
    Component.WEBHOOK: 7,
    Component.EXTENDER: 8,
    Component.CONTROLLER: 9,
    Component.POSTGRES: 20,
    Component.REDIS: 21,
    Component.API: 22,
}
REPLICA_OFFSETS = range(10, 20)
PORT_BLOCK_SIZE = 24

REPLICA_SEPARATOR = "@"
MOST_PROCESS_NODES = len(REPLICA_OFFSETS)

_PROCESS_NODE = re.compile(rf"{Component.PROCESS_NODE}-(0|[1-9][0-9]*)")


def process_node_name(number: int) -> str:
    """The name of a process node, as a component and as a node."""
    return f"{Component.PROCESS_NODE}-{number}"


def is_process_node(name: str) -> bool:
    return _PROCESS_NODE.fullmatch(name) is not None


def component_of(name: str) -> Component:
    """The component behind a process name; "controller@2" is a further replica of the controller."""
    if is_process_node(name):
        return Component.PROCESS_NODE
    if name == Component.PROCESS_NODE:
        raise ValueError(name)
    base, separator, number = name.partition(REPLICA_SEPARATOR)
    component = Component(base)
    if separator and (component not in SERVICES or not number.isdigit()):
        raise ValueError(name)
    return component
