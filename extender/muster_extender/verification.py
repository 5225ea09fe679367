"""Verifies release tickets against the current and the previous key, each text once."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from muster_api.tickets import Ticket, TicketError, verify

_MOST_REMEMBERED: Final = 65_536


class TicketVerifier:
    """Remembers what it has verified: a ticket is shown at filter, at bind and with every change of its pod."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys)
        self._verified: dict[tuple[str, str], Ticket] = {}

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    def use_keys(self, keys: Sequence[bytes]) -> bool:
        """Takes new keys; false when they are the ones in use already."""
        if tuple(keys) == self._keys:
            return False
        self._keys = tuple(keys)
        self._verified.clear()
        return True

    def verify(self, namespace: str, text: str) -> Ticket | None:
        """The ticket, or None when Muster did not sign this text for this namespace."""
        known = self._verified.get((namespace, text))
        if known is not None:
            return known
        try:
            ticket = verify(self._keys, namespace, text)
        except TicketError:
            return None
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[namespace, text] = ticket
        return ticket


def keys_in(data: Mapping[str, str]) -> list[bytes]:
    """The keys of the Secret, the current one first; entries that cannot be read are left out."""
    keys = []
    for name in ("current", "previous"):
        try:
            key = base64.b64decode(data.get(name, ""), validate=True)
        except (binascii.Error, ValueError):
            continue
        if key:
            keys.append(key)
    return keys
