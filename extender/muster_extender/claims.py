"""Which pod a slot belongs to: the first uid that shows its ticket, and no other for as long as the epoch lasts."""

from __future__ import annotations

from typing import Final

import msgspec

from muster_api.tickets import Epoch, Ticket

_MOST_ENDED: Final = 4096
"""Gangs over which pods may still change; a claim made after that costs a little memory, nothing else."""


class Claim(msgspec.Struct, gc=False):
    uid: str
    is_spent: bool = False
    """Its pod has been bound: the slot promises nothing any more, even once that pod is gone."""


class Claims:
    """Slots of all gangs by gang and epoch. A claim outlives its pod: slots are never used twice."""

    def __init__(self) -> None:
        self._by_gang: dict[str, dict[tuple[Epoch, int], Claim]] = {}
        self._ended: dict[str, None] = {}

    def holder(self, ticket: Ticket) -> Claim | None:
        """Who has claimed this slot in this epoch."""
        return self._by_gang.get(ticket.gang, {}).get((ticket.epoch, ticket.slot))

    def claim(self, ticket: Ticket, uid: str) -> bool:
        """Takes the slot for this uid unless another was first, or the gang is over."""
        if ticket.gang in self._ended:
            return False
        claims = self._by_gang.setdefault(ticket.gang, {})
        return claims.setdefault((ticket.epoch, ticket.slot), Claim(uid)).uid == uid

    def spend(self, ticket: Ticket, uid: str) -> None:
        """The slot's pod is bound: nothing is promised to it any more."""
        if self.claim(ticket, uid):
            self._by_gang[ticket.gang][ticket.epoch, ticket.slot].is_spent = True

    def slot_claim(self, gang: str, epoch: Epoch, slot: int) -> Claim | None:
        return self._by_gang.get(gang, {}).get((epoch, slot))

    def keep_from(self, gang: str, epoch: Epoch) -> None:
        """Forgets the epochs of this gang before this one: their tickets are worthless."""
        self._ended.pop(gang, None)
        claims = self._by_gang.get(gang)
        if claims and any(old < epoch for old, _ in claims):
            self._by_gang[gang] = {key: claim for key, claim in claims.items() if key[0] >= epoch}

    def forget(self, gang: str) -> None:
        """The gang is gone: what its pods still show claims nothing, unless a backup brings it back."""
        self._by_gang.pop(gang, None)
        self._ended[gang] = None
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
