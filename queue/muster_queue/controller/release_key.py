"""The key that signs release tickets, followed as its Secret changes."""

from __future__ import annotations

import asyncio
import base64
import binascii

from muster_api.objects import Secret
from muster_api.tickets import Ticket, TicketError, verify
from muster_queue.controller.world import World


class ReleaseKey:
    """The current key signs, the current and the previous one verify."""

    def __init__(self, world: World) -> None:
        self.present = asyncio.Event()
        self._world = world
        self._keys: tuple[bytes, ...] = ()

    def current(self) -> bytes:
        """Only asked once it is `present`."""
        return self._keys[0]

    def see(self, secret: Secret) -> None:
        """New keys make every ticket worth another look."""
        keys = tuple(key for name in ("current", "previous") if (key := _decode(secret.data.get(name, ""))))
        if not keys or keys == self._keys:
            return
        self._keys = keys
        self._world.read_tickets_again(self.read_ticket)
        self.present.set()

    def read_ticket(self, namespace: str, text: str) -> Ticket | None:
        """A ticket that one of our keys has signed, else nothing."""
        try:
            return verify(self._keys, namespace, text)
        except TicketError:
            return None


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
