"""Release tickets: signed pointers to one slot of one reservation, useless to whoever cannot sign.

A ticket is only a pointer. For gangs the durable plan in the Gang object is the truth and has to agree with it.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import msgspec

_VERSION: Final = "v1"
_MAC_LENGTH: Final = 43
_LONGEST: Final = 512
SINGLE_PREFIX: Final = "pod-"
JOB_PREFIX: Final = "job-"
"""Of the gang ids of jobs: whose ticket names such a gang was made by Muster itself, since nobody else can sign."""


class TicketError(ValueError):
    """The text is not a ticket that Muster wrote; the message says which part is off."""


class Epoch(msgspec.Struct, frozen=True, order=True, gc=False):
    """Which try at a gang this is: the leader's term, then a count; ordered, and never used twice."""

    term: int
    count: int

    def __str__(self) -> str:
        return f"{self.term}-{self.count}"

    def next(self, term: int = 0) -> Epoch:
        """The epoch after an abort, in the newer of its own and the given term."""
        return Epoch(max(self.term, term), self.count + 1)


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """One slot on one node, for one pod of the namespace it was signed for."""

    gang: str
    epoch: Epoch
    slot: int
    node: str

    @property
    def is_single(self) -> bool:
        """Whether it stands alone, for a pod without a Gang object."""
        return self.gang.startswith(SINGLE_PREFIX)

    @property
    def is_of_job(self) -> bool:
        """Whether it is for a pod that Muster has made for a job of its own."""
        return self.gang.startswith(JOB_PREFIX)


def parse_epoch(text: str) -> Epoch:
    """Read "<term>-<count>"; raises TicketError."""
    term, _, count = text.partition("-")
    return Epoch(_whole(term, "epoch"), _whole(count, "epoch"))


def names_job(text: str) -> bool:
    """Whether a ticket's text, unread, is for a pod of a job."""
    return text.startswith(f"{_VERSION}.{JOB_PREFIX}")


def single_gang(uid: str) -> str:
    """The gang id of a single pod, which needs no Gang object: its ticket is its reservation."""
    return f"{SINGLE_PREFIX}{uid}"


def sign(key: bytes, namespace: str, ticket: Ticket) -> str:
    """The annotation value for a ticket."""
    body = f"{_VERSION}.{ticket.gang}.{ticket.epoch}.{ticket.slot}.{ticket.node}"
    return f"{body}.{_mac(key, namespace, body)}"


def parse(text: str) -> Ticket:
    """Read a ticket without believing it; raises TicketError."""
    return _split(text)[0]


def verify(keys: Sequence[bytes], namespace: str, text: str) -> Ticket:
    """Read a ticket and check its signature against the current and the previous key; raises TicketError."""
    ticket, body, mac = _split(text)
    for key in keys:
        if hmac.compare_digest(_mac(key, namespace, body), mac):
            return ticket
    raise TicketError("the signature is not ours")


def _split(text: str) -> tuple[Ticket, str, str]:
    if len(text) > _LONGEST or not text.isascii():
        raise TicketError("too long, or not plain ASCII")
    body, _, mac = text.rpartition(".")
    parts = body.split(".", 4)
    if len(parts) != 5 or parts[0] != _VERSION or len(mac) != _MAC_LENGTH:
        raise TicketError("not of the form v1.<gang>.<epoch>.<slot>.<node>.<signature>")
    if not parts[1] or not parts[4]:
        raise TicketError("gang or node is empty")
    return Ticket(parts[1], parse_epoch(parts[2]), _whole(parts[3], "slot"), parts[4]), body, mac


def _whole(text: str, part: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise TicketError(f"{part} is not a whole number")
    return int(text)


def _mac(key: bytes, namespace: str, body: str) -> str:
    digest = hmac.new(key, f"{namespace}\n{body}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
