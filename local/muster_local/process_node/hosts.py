"""What a pod's own /etc/hosts says: itself, its aliases, and the pods of headless services in its namespace; pure."""

from __future__ import annotations

from collections.abc import Iterable

from muster_local.process_node.objects import Peer, Pod

CLUSTER_DOMAIN = "cluster.local"

_HEAD = """\
# Managed by Muster's process node; changes are lost.
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
"""


def own_lines(pod: Pod, address: str) -> str:
    """The part that stays the same as long as the pod lives."""
    spec, namespace = pod.spec, pod.metadata.namespace
    names = [pod.hostname]
    if spec.subdomain:
        names = [*service_names(pod.hostname, spec.subdomain, namespace), pod.hostname]
    lines = [f"{address} {' '.join(names)}"]
    lines += [f"{alias.ip} {' '.join(alias.hostnames)}" for alias in spec.host_aliases if alias.hostnames]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def service_names(hostname: str, subdomain: str, namespace: str) -> list[str]:
    """The names of one pod of a headless service, the full one first as DNS would answer."""
    short = f"{hostname}.{subdomain}"
    return [f"{short}.{namespace}.svc.{CLUSTER_DOMAIN}", f"{short}.{namespace}.svc", f"{short}.{namespace}", short]


def peer_lines(peers: Iterable[Peer]) -> str:
    """The lines of one namespace's pods that have a name in a service, in an order that does not depend on time."""
    reachable = [peer for peer in peers if is_reachable(peer)]
    reachable.sort(key=lambda peer: (peer.spec.subdomain, peer.spec.hostname, peer.status.pod_ip))
    return "".join(f"{peer.status.pod_ip} {' '.join(_names(peer))}\n" for peer in reachable)


def is_reachable(peer: Peer) -> bool:
    """Whether another process of this machine can reach it by a name: simulated pods have no such address."""
    is_over = peer.status.phase in ("Succeeded", "Failed")
    return bool(peer.spec.hostname and peer.spec.subdomain and peer.status.pod_ip.startswith("127.")) and not is_over


def _names(peer: Peer) -> list[str]:
    # The bare name of the service resolves to all its pods.
    names = service_names(peer.spec.hostname, peer.spec.subdomain, peer.metadata.namespace)
    return [*names, f"{peer.spec.subdomain}.{peer.metadata.namespace}.svc.{CLUSTER_DOMAIN}", peer.spec.subdomain]


def hosts_file(own: str, peers: str) -> str:
    """The whole file; the pod's own line comes first, so that it finds itself before it is published."""
    return own + peers
