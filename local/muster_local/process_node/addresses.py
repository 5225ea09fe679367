"""Loopback addresses for pods: every 127.x.y.z is this machine, so each pod gets one to listen on alone; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

FIRST_NETWORK: Final = 64
_NETWORKS: Final = 128
_HOSTS: Final = 254


class NoAddressLeftError(Exception):
    """More pods than addresses; a node holds fewer pods than that."""


class Addresses:
    """The addresses of one node: its number is the second byte, so that nodes of a machine never meet."""

    def __init__(self, node: str, taken: Iterable[str] = ()) -> None:
        self._network = FIRST_NETWORK + node_number(node) % _NETWORKS
        self._taken = set(taken)
        self._next = 0

    def take(self) -> str:
        """The next free one; an address just given back is not used again at once."""
        for _ in range(256 * _HOSTS):
            third, fourth = divmod(self._next, _HOSTS)
            self._next = (self._next + 1) % (256 * _HOSTS)
            address = f"127.{self._network}.{third}.{fourth + 1}"
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise NoAddressLeftError(f"all addresses of 127.{self._network}.0.0/16 are taken")

    def give_back(self, address: str) -> None:
        self._taken.discard(address)


def node_number(node: str) -> int:
    """The number at the end of a node's name."""
    match = re.search(r"(\d+)$", node)
    return int(match[1]) if match else 0
