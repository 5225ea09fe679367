"""The chain of seals over audit rows: pure; what a seal commits to, and what differs from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

BEGINNING: Final = bytes(32)
"""What the first seal names as the digest before it."""
_ID_BYTES: Final = 8
_LEAF_BYTES: Final = _ID_BYTES + 32


class Place(NamedTuple):
    """Where a row stands in the order of the trail."""

    txid: int
    id: int

    def __str__(self) -> str:
        return f"row {self.id} of transaction {self.txid}" if self.txid else f"row {self.id}"


class RowDigest(NamedTuple):
    """A row, as the chain sees it."""

    place: Place
    digest: bytes


class Kind(StrEnum):
    """What was done to the trail."""

    CHANGED = "changed"
    DELETED = "deleted"
    INSERTED = "inserted"
    SEAL = "seal"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written."""

    kind: Kind
    seal: int
    place: Place
    message: str

    def __str__(self) -> str:
        return f"seal {self.seal}, {self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Seal:
    """So many rows, in order, and the seal before them."""

    number: int
    first: Place
    last: Place
    count: int
    leaves: bytes
    previous_digest: bytes
    digest: bytes

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Self:
        number, first_txid, first_id, last_txid, last_id, count, leaves, previous, digest = row
        first, last = Place(int(first_txid), first_id), Place(int(last_txid), last_id)
        return cls(number, first, last, count, bytes(leaves), bytes(previous), bytes(digest))

    @property
    def rows(self) -> dict[int, bytes]:
        """Digest by id, in order."""
        leaves = [self.leaves[start : start + _LEAF_BYTES] for start in range(0, len(self.leaves), _LEAF_BYTES)]
        return {int.from_bytes(leaf[:_ID_BYTES]): leaf[_ID_BYTES:] for leaf in leaves}


def make_seal(number: int, previous_digest: bytes, rows: Sequence[RowDigest]) -> Seal:
    """The seal over these rows, which are in order."""
    leaves = b"".join(row.place.id.to_bytes(_ID_BYTES) + row.digest for row in rows)
    first, last = rows[0].place, rows[-1].place
    digest = _digest(number, first, last, leaves, previous_digest)
    return Seal(number, first, last, len(rows), leaves, previous_digest, digest)


def check_link(seal: Seal, number: int, digest: bytes, after: Place) -> list[Finding]:
    """Whether a seal follows the one with this number and digest, and is what it says."""
    wrong = []
    if seal.number != number + 1:
        wrong.append(f"seals {number + 1} to {seal.number - 1} are missing")
    if seal.previous_digest != digest:
        wrong.append("does not continue the seal before it")
    if _digest(seal.number, seal.first, seal.last, seal.leaves, seal.previous_digest) != seal.digest:
        wrong.append("its digest is not that of its rows")
    if not after < seal.first <= seal.last or seal.count * _LEAF_BYTES != len(seal.leaves):
        wrong.append("its places are not those of its rows")
    return [Finding(Kind.SEAL, seal.number, seal.first, message) for message in wrong]


def compare_rows(seal: Seal, found: Sequence[RowDigest]) -> list[Finding]:
    """Rows that differ from those that were sealed."""
    sealed = seal.rows
    findings = []
    for row in found:
        digest = sealed.pop(row.place.id, None)
        if digest is None:
            findings.append(Finding(Kind.INSERTED, seal.number, row.place, "was inserted after its place was sealed"))
        elif digest != row.digest:
            findings.append(Finding(Kind.CHANGED, seal.number, row.place, "was changed after it was sealed"))
    gone = [Place(0, row_id) for row_id in sealed]  # a seal keeps ids, which are unique, without their transactions
    return findings + [Finding(Kind.DELETED, seal.number, place, "was deleted after it was sealed") for place in gone]


def _digest(number: int, first: Place, last: Place, leaves: bytes, previous_digest: bytes) -> bytes:
    head = b"".join(value.to_bytes(_ID_BYTES) for value in (number, *first, *last, len(leaves)))
    return hashlib.sha256(previous_digest + head + leaves).digest()
