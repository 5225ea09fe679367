"""Kubernetes quantities as exact whole numbers, in units small enough that nothing is rounded away."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

_SUFFIXES: Final[dict[str, Decimal]] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,2})?")
LARGEST_INT32: Final = 2**31 - 1
LARGEST_INT64: Final = 2**63 - 1


class QuantityError(ValueError):
    """The text is not a Kubernetes quantity."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:40]!r} is not a quantity; write for example 500m, 2, 1.5Gi or 1e3")
        self.text = text


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Decimal:
    """Read a quantity as the API server does: decimal number, then a binary, decimal or exponent suffix."""
    digits = text.rstrip("KMGTPEikmnu")
    scale = _SUFFIXES.get(text[len(digits) :])
    if scale is None or not _NUMBER.fullmatch(digits):
        raise QuantityError(text)
    return Decimal(digits) * scale


@lru_cache(maxsize=4096)
def resource_units(resource: str, text: str) -> int:
    """A quantity as planners count it: millicores for cpu, bytes or pieces else; rounded up, saturating at 63 bits."""
    number = parse_quantity(text)
    if resource == "cpu":
        number *= 1000
    return min(LARGEST_INT64, int(number.to_integral_value(ROUND_CEILING)))
