"""Picking ports that stay ours: a block below the range from which the kernel takes outgoing connections."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from muster_local.components import PORT_BLOCK_SIZE
from muster_local.errors import LocalError
from muster_local.layout import INSTANCE_FILE

FIRST_PORT = 20_000
LAST_PORT = 31_999


def claim_block(state_dir: Path, claims: Path) -> int:
    """The first port of a free block, claimed by name so that two instances starting at once never collide."""
    claims.mkdir(mode=0o700, parents=True, exist_ok=True)
    starts = list(range(FIRST_PORT, LAST_PORT - PORT_BLOCK_SIZE, PORT_BLOCK_SIZE))
    random.SystemRandom().shuffle(starts)
    with FileLock(claims / "lock"):
        taken = _claimed_blocks(claims)
        for start in starts:
            if start not in taken and block_is_free(start):
                (claims / str(start)).write_text(str(state_dir))
                return start
    raise LocalError(f"no {PORT_BLOCK_SIZE} free ports in a row between {FIRST_PORT} and {LAST_PORT}")


def release_block(start: int, state_dir: Path, claims: Path) -> None:
    """Gives a block back when its instance is removed."""
    claim = claims / str(start)
    if claim.exists() and claim.read_text() == str(state_dir):
        claim.unlink()


def _claimed_blocks(claims: Path) -> set[int]:
    """The blocks of instances that still exist; the claims of others are forgotten."""
    taken = set()
    for claim in claims.iterdir():
        if not claim.name.isdigit():
            continue
        if (Path(claim.read_text()) / INSTANCE_FILE).exists():
            taken.add(int(claim.name))
        else:
            claim.unlink()
    return taken


def block_is_free(start: int) -> bool:
    """Whether nobody listens on any port of the block."""
    with ExitStack() as held:
        return all(_can_bind(port, held) for port in range(start, start + PORT_BLOCK_SIZE))


def any_block_is_free() -> bool:
    """Whether a start would find ports; the doctor asks."""
    return any(block_is_free(start) for start in range(FIRST_PORT, LAST_PORT - PORT_BLOCK_SIZE, PORT_BLOCK_SIZE))


def _can_bind(port: int, held: ExitStack) -> bool:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # A closed instance leaves sockets in TIME_WAIT on its ports; the servers themselves ignore those too.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
