"""The durable plan of a gang, run-length coded, so that ten thousand members fit well into one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

MOST_SLOTS: Final = 200_000
"""Of one plan: twice the largest gang, since slots are never used again. A plan of more is not ours."""


class PlanError(ValueError):
    """A plan in a Gang object cannot be read."""


class PlanRun(msgspec.Struct, frozen=True, rename="camel", gc=False, omit_defaults=True):
    """Slots of one shape on one node; `slots` is like "0-4,7"."""

    node: str
    slots: str
    shape: str = ""


class Placement(msgspec.Struct, frozen=True, gc=False):
    """Where one slot goes, and what shape of member may take it."""

    node: str
    shape: str


def encode_slots(slots: Iterable[int]) -> str:
    """Write slot numbers as ascending ranges: 0,1,2,5 becomes "0-2,5"."""
    ranges: list[list[int]] = []
    for slot in sorted(slots):
        if ranges and slot == ranges[-1][1] + 1:
            ranges[-1][1] = slot
        else:
            ranges.append([slot, slot])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def decode_slots(text: str) -> Iterator[int]:
    """Read slot numbers; raises PlanError on anything that encode_slots does not write."""
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or len(part) > 19:
            raise PlanError(f"slots {text[:40]!r} are not ranges of whole numbers")
        last = int(high) if dash else int(low)
        if last - int(low) >= MOST_SLOTS:
            raise PlanError(f"slots {text[:40]!r} name more than {MOST_SLOTS}")
        yield from range(int(low), last + 1)


def encode_plan(placements: dict[int, Placement]) -> list[PlanRun]:
    """Group slots by node and shape, in the order of their first slot."""
    groups: dict[Placement, list[int]] = {}
    for slot in sorted(placements):
        groups.setdefault(placements[slot], []).append(slot)
    return [PlanRun(place.node, encode_slots(slots), place.shape) for place, slots in groups.items()]


def decode_plan(runs: Iterable[PlanRun]) -> dict[int, Placement]:
    """Slot number to placement; raises PlanError when a slot stands twice."""
    placements: dict[int, Placement] = {}
    for run in runs:
        placement = Placement(run.node, run.shape)
        for slot in decode_slots(run.slots):
            if slot in placements:
                raise PlanError(f"slot {slot} is planned twice")
            if len(placements) >= MOST_SLOTS:
                raise PlanError(f"the plan has more than {MOST_SLOTS} slots")
            placements[slot] = placement
    return placements
