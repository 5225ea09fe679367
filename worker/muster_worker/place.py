"""A member's place in its gang, as torch's launchers and our reconciler describe it in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muster_worker.errors import RefusedError

_LARGEST_PORT = 65535
_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which of how many members this process is, and where the first one listens."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    master_address: str = ""
    master_port: int = 0

    @property
    def is_first(self) -> bool:
        """Rank 0 keeps the gang's address, its log of progress and its checkpoints."""
        return self.rank == 0


def place_from(environment: Mapping[str, str]) -> Place:
    """Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT; a process without any of them is a gang of one."""
    problems: list[str] = []

    def number(name: str, default: int | None, least: int, most: int) -> int:
        text = environment.get(name, "").strip()
        if not text and default is not None:
            return default
        if text.isascii() and text.isdecimal() and least <= int(text) <= most:
            return int(text)
        problems.append(f"{name}: expected a whole number from {least} to {most}, got {text!r}")
        return least

    world_size = number("WORLD_SIZE", 1, 1, _LARGEST_NUMBER)
    alone = world_size == 1
    place = Place(
        world_size=world_size,
        rank=number("RANK", 0 if alone else None, 0, world_size - 1),
        local_rank=number("LOCAL_RANK", 0, 0, _LARGEST_NUMBER),
        master_address=environment.get("MASTER_ADDR", "").strip(),
        master_port=number("MASTER_PORT", 0 if alone else None, 0 if alone else 1, _LARGEST_PORT),
    )
    if not alone and not place.master_address:
        problems.append("MASTER_ADDR: expected the name or address of rank 0, got nothing")
    if problems:
        raise RefusedError("; ".join(problems))
    return place
