"""Keeps every pod's /etc/hosts up to date as pods with names come and go anywhere in the cluster."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from muster_local.process_node.hosts import hosts_file, is_reachable, own_lines, peer_lines
from muster_local.process_node.objects import Peer, Pod

_SETTLE_SECONDS: Final = 0.02
"""A gang's pods get their addresses together; one write tells all of them."""


@dataclass(slots=True)
class _Registered:
    namespace: str
    path: Path
    own: str
    written: str = ""


@dataclass(slots=True)
class _Namespace:
    peers: dict[str, Peer] = field(default_factory=dict)
    lines: str = ""


class HostFiles:
    """Hears of all pods, writes the files of this node's own."""

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace] = {}
        self._registered: dict[str, _Registered] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._dirty: set[str] = set()

    def register(self, pod: Pod, address: str, path: Path) -> None:
        """Writes the file now and keeps it true until `forget`."""
        namespace = pod.metadata.namespace
        entry = _Registered(namespace, path, own_lines(pod, address))
        self._registered[pod.uid] = entry
        known = self._namespaces.get(namespace)
        self._write(entry, known.lines if known is not None else "")

    def forget(self, uid: str) -> None:
        self._registered.pop(uid, None)

    def see(self, peer: Peer) -> None:
        """A pod is there, or has changed."""
        if not is_reachable(peer):
            self.lose(peer)
            return
        namespace = self._namespaces.setdefault(peer.metadata.namespace, _Namespace())
        known = namespace.peers.get(peer.metadata.uid)
        namespace.peers[peer.metadata.uid] = peer
        if known is None or known.status.pod_ip != peer.status.pod_ip:
            self._touch(peer.metadata.namespace)

    def lose(self, peer: Peer) -> None:
        """A pod is gone or has ended."""
        namespace = self._namespaces.get(peer.metadata.namespace)
        if namespace is not None and namespace.peers.pop(peer.metadata.uid, None) is not None:
            self._touch(peer.metadata.namespace)

    def _touch(self, namespace: str) -> None:
        self._dirty.add(namespace)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            namespace = self._namespaces[name]
            namespace.lines = peer_lines(namespace.peers.values())
            if not namespace.peers:
                del self._namespaces[name]
        for entry in self._registered.values():
            if entry.namespace in dirty:
                known = self._namespaces.get(entry.namespace)
                self._write(entry, known.lines if known is not None else "")

    @staticmethod
    def _write(entry: _Registered, lines: str) -> None:
        """In place and in one call: the file is mounted in running containers, a new one would not be seen there."""
        text = hosts_file(entry.own, lines)
        if text == entry.written and entry.path.exists():
            return
        data = text.encode()
        descriptor = os.open(entry.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)
        entry.written = text
