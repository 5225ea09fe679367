"""The command line of every process; pure, so that a test reads what would be started."""

from __future__ import annotations

import sys

from muster_local.components import Component, component_of
from muster_local.credentials import token_file
from muster_local.instance import Instance
from muster_local.layout import StateLayout
from muster_local.pki import AUTHORITY, ETCD_CLIENT, KUBELET_CLIENT, SERVICE_ACCOUNT

LOOPBACK = "127.0.0.1"
SERVICE_CIDR = "10.0.0.0/24"
POD_CIDR = "10.128.0.0/12"
SIMULATED_NODE_SELECTOR = "kwok.x-k8s.io/node=fake"
# A renewal every quarter of the lease: with 240 s, 1000 nodes cost 17 writes a second instead of the default's 100.
LEASE_SHARE_OF_GRACE = 0.8
# How often the controller-manager looks at its nodes: its own default, and more often where the grace is short.
LONGEST_NODE_MONITOR_SECONDS = 5.0
SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"

SERVICE_MODULES: dict[Component, tuple[str, tuple[str, ...]]] = {
    Component.WEBHOOK: ("muster_webhook", ()),
    Component.EXTENDER: ("muster_extender", ()),
    Component.CONTROLLER: ("muster_queue", ("controller",)),
    Component.API: ("muster_queue", ("api",)),
    Component.PROCESS_NODE: ("muster_local.process_node", ()),
}


def command_for(name: str, instance: Instance, layout: StateLayout) -> list[str]:
    """The command line of a process by its name, a replica's included."""
    component = component_of(name)
    if component in SERVICE_MODULES:
        module, arguments = SERVICE_MODULES[component]
        return [sys.executable, "-m", module, *arguments]
    flags = _FLAGS[component](instance, layout)
    return [instance.binaries[component], *(_flag(key, value) for key, value in flags.items())]


def _flag(key: str, value: object) -> str:
    return f"--{key}={str(value).lower() if isinstance(value, bool) else value}"


def _etcd(instance: Instance, layout: StateLayout) -> dict[str, object]:
    client, peer = instance.url("etcd"), instance.url("etcd-peer")
    certificate, key = layout.certificate("etcd"), layout.private_key("etcd")
    authority = layout.certificate(AUTHORITY)
    return {
        "name": "muster",
        "data-dir": layout.etcd,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"muster={peer}",
        "listen-metrics-urls": f"http://{LOOPBACK}:{instance.ports['etcd-metrics']}",
        "cert-file": certificate,
        "key-file": key,
        "trusted-ca-file": authority,
        "client-cert-auth": True,
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": True,
        # It would dial etcd with the serving certificate, which is none for clients; nothing here uses it.
        "enable-grpc-gateway": False,
        "quota-backend-bytes": 8 * 1024**3,
        "log-level": "warn",
        # Losing the last writes with the whole machine is fine here; losing them with a process is not possible.
        "unsafe-no-fsync": True,
    }


def _api_server(instance: Instance, layout: StateLayout) -> dict[str, object]:
    signing_key = layout.private_key(SERVICE_ACCOUNT)
    return {
        "bind-address": LOOPBACK,
        "secure-port": instance.ports[Component.API_SERVER],
        "advertise-address": LOOPBACK,
        "endpoint-reconciler-type": "none",
        "etcd-servers": instance.url("etcd"),
        "etcd-cafile": layout.certificate(AUTHORITY),
        "etcd-certfile": layout.certificate(ETCD_CLIENT),
        "etcd-keyfile": layout.private_key(ETCD_CLIENT),
        "tls-cert-file": layout.certificate(Component.API_SERVER),
        "tls-private-key-file": layout.private_key(Component.API_SERVER),
        "client-ca-file": layout.certificate(AUTHORITY),
        "token-auth-file": token_file(layout),
        "kubelet-certificate-authority": layout.certificate(AUTHORITY),
        "kubelet-client-certificate": layout.certificate(KUBELET_CLIENT),
        "kubelet-client-key": layout.private_key(KUBELET_CLIENT),
        "kubelet-preferred-address-types": "InternalIP",
        "anonymous-auth": False,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        # Simulated nodes are born Ready; tainting them until a controller has looked costs a write each.
        "disable-admission-plugins": "TaintNodesByCondition",
        "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
        "service-account-signing-key-file": signing_key,
        "service-account-key-file": layout.public_key(SERVICE_ACCOUNT),
        "service-cluster-ip-range": SERVICE_CIDR,
        "allow-privileged": True,
        "enable-priority-and-fairness": False,
        "max-requests-inflight": 2000,
        "max-mutating-requests-inflight": 1000,
        "profiling": False,
    }


def _controller_manager(instance: Instance, layout: StateLayout) -> dict[str, object]:
    return {
        **_authenticated(Component.CONTROLLER_MANAGER, instance, layout),
        "kubeconfig": layout.kubeconfig(Component.CONTROLLER_MANAGER),
        "root-ca-file": layout.certificate(AUTHORITY),
        "service-account-private-key-file": layout.private_key(SERVICE_ACCOUNT),
        "use-service-account-credentials": True,
        "leader-elect": False,
        # The ttl controller annotates every node and nothing here reads it.
        "controllers": "*,-ttl-controller",
        "kube-api-qps": 500,
        "kube-api-burst": 1000,
        "node-monitor-grace-period": f"{instance.options.grace_seconds}s",
        "node-monitor-period": f"{min(LONGEST_NODE_MONITOR_SECONDS, instance.options.grace_seconds / 8)}s",
        "profiling": False,
    }


def _scheduler(instance: Instance, layout: StateLayout) -> dict[str, object]:
    return {
        **_authenticated(Component.SCHEDULER, instance, layout),
        "config": layout.config / "kube-scheduler.yaml",
    }


def _authenticated(component: Component, instance: Instance, layout: StateLayout) -> dict[str, object]:
    kubeconfig = layout.kubeconfig(component)
    return {
        "bind-address": LOOPBACK,
        "secure-port": instance.ports[component],
        "tls-cert-file": layout.certificate(component),
        "tls-private-key-file": layout.private_key(component),
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "authentication-tolerate-lookup-failure": True,
    }


def _kwok(instance: Instance, layout: StateLayout) -> dict[str, object]:
    return {
        "kubeconfig": layout.kubeconfig(Component.KWOK),
        "config": layout.config / "kwok.yaml",
        "manage-all-nodes": False,
        "manage-nodes-with-annotation-selector": SIMULATED_NODE_SELECTOR,
        "node-ip": LOOPBACK,
        "cidr": POD_CIDR,
        "v": "WARN",
        "node-lease-duration-seconds": node_lease_seconds(instance),
        "server-address": f"{LOOPBACK}:{instance.ports[Component.KWOK]}",
    }


def node_lease_seconds(instance: Instance) -> int:
    """How long a node counts as alive after a renewal: well below what the controller-manager waits."""
    return max(1, int(instance.options.grace_seconds * LEASE_SHARE_OF_GRACE))


_FLAGS = {
    Component.ETCD: _etcd,
    Component.API_SERVER: _api_server,
    Component.CONTROLLER_MANAGER: _controller_manager,
    Component.SCHEDULER: _scheduler,
    Component.KWOK: _kwok,
}
