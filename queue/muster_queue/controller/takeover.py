"""What a new leader does before it plans anything: raise the fence, read every Gang, and take over what stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from muster_api.gangs import Fence, Gang, PlacementTerm
from muster_api.phases import COVER_PHASES
from muster_api.tickets import TicketError, parse_epoch
from muster_kube.backoff import Backoff
from muster_kube.errors import ApiError
from muster_queue.controller import statuses
from muster_queue.controller.gang_writer import GangWriter
from muster_queue.controller.world import World

log = structlog.get_logger(__name__)

AT_ONCE = 32

T = TypeVar("T")


def stands(gang: Gang, before: Fence, *, is_readable: bool) -> bool:
    """Whether a reservation was in force under the last fence: only such ones were planned knowing of each other."""
    reservation = gang.status.reservation
    return is_readable and reservation is not None and before.covers(reservation)


async def take_over(world: World, gangs: GangWriter) -> PlacementTerm:
    """Returns the fence of the new term. Raises LostFenceError where another leader is quicker.

    Reservations that are not adopted count for nobody from here on; looking at them resets them one by one.
    """
    known = await _patiently(gangs.read_fence)
    before = known.spec if known is not None else Fence()
    if known is None:
        for gang in await _patiently(gangs.list_all):
            world.see_gang(gang)
    fence = await gangs.raise_fence(known, Fence(term=max(before.term, latest_term(world)) + 1, seq=0))
    world.see_fence(fence)
    found = await _patiently(gangs.list_all)
    slots = asyncio.Semaphore(AT_ONCE)

    async def adopt(gang: Gang) -> bool:
        try:
            async with slots:
                written = await gangs.move(gang, statuses.adopted(gang.status, fence.spec))
        except ApiError as error:
            log.error("gang not taken over", gang=gang.key, error=str(error))
            return False
        if written.gang is not None:
            world.see_gang(written.gang)
        return written.is_ours

    for gang in found:
        world.see_gang(gang)
    standing = [gang for gang in found if _is_standing(world, gang, before)]
    adopted = await asyncio.gather(*(adopt(gang) for gang in standing))
    log.info("took over", term=fence.spec.term, gangs=len(found), adopted=sum(adopted))
    return fence


def latest_term(world: World) -> int:
    """The newest term that anything known speaks of: should the fence be deleted, no term is used a second time."""
    terms = [world.fence.term if world.fence is not None else 0]
    for group in world.groups.values():
        if group.gang is not None:
            terms += _terms_of(group.gang)
    members = (member for group in world.groups.values() for member in group.members.values())
    terms += [member.ticket.epoch.term for member in (*members, *world.singles.values()) if member.ticket is not None]
    return max(terms)


def _terms_of(gang: Gang) -> list[int]:
    status = gang.status
    reserved = [status.reservation.term] if status.reservation is not None else []
    try:
        return [*reserved, parse_epoch(status.epoch).term]
    except TicketError:
        return reserved


def _is_standing(world: World, gang: Gang, before: Fence) -> bool:
    group = world.group_of(gang)
    if group is None or gang.status.phase not in COVER_PHASES:
        return False
    return stands(gang, before, is_readable=not group.unreadable)


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Reads again until the API server answers."""
    pauses = Backoff(0.2, 5.0)
    while True:
        try:
            return await read()
        except ApiError as error:
            log.warning("not read yet", error=str(error))
            await asyncio.sleep(pauses.next_delay())
