"""What a new leader finds, it takes over or resets; nothing that it finds keeps it from leading."""

from __future__ import annotations

import pytest

from bones.gang_store import NO_SESSION, GangStore, make_hands
from bones.gang_views import TERM, make_gang, make_plan, released
from muster_api.gangs import Fence, Gang, PlacementTerm
from muster_api.objects import ObjectMeta
from muster_api.phases import GangPhase
from muster_kube.errors import ApiError, Forbidden, Invalid
from muster_queue.controller.gang_writer import GangWriter
from muster_queue.controller.takeover import latest_term, take_over

OLD = Fence(term=TERM, seq=4)
RELEASED = make_gang(GangPhase.RELEASED, plan=make_plan(1))


class FencedStore(GangStore):
    """A store with the one fence beside its Gang; None where somebody has deleted it."""

    def __init__(self, fence: Fence | None) -> None:
        super().__init__(RELEASED)
        self.fence = fence

    def gangs(self) -> GangWriter:
        store = self

        class Gangs(GangWriter):
            async def read_fence(self) -> PlacementTerm | None:
                return None if store.fence is None else _term(store.fence)

            async def raise_fence(self, known: PlacementTerm | None, fence: Fence) -> PlacementTerm:
                store.fence = fence
                return _term(fence)

            async def list_all(self) -> list[Gang]:
                return [] if store.gang is None else [store.gang]

        return Gangs(NO_SESSION, self, lambda: True)


def _term(fence: Fence) -> PlacementTerm:
    return PlacementTerm(metadata=ObjectMeta(name="default", resource_version="1"), spec=fence)


async def test_a_reservation_in_force_is_adopted() -> None:
    store = FencedStore(OLD)
    fence = await take_over(make_hands(store).world, store.gangs())
    assert fence.spec == Fence(term=TERM + 1, seq=0)
    assert store.gang is not None
    assert store.gang.status.reservation == fence.spec


@pytest.mark.parametrize("error", [Invalid(422), Forbidden(403)], ids=["invalid", "forbidden"])
async def test_a_gang_that_cannot_be_written_keeps_nobody_from_leading(error: ApiError) -> None:
    store = FencedStore(OLD)

    def refuse() -> None:
        raise error

    store.on_write = refuse
    fence = await take_over(make_hands(store).world, store.gangs())
    assert fence.spec == Fence(term=TERM + 1, seq=0)


async def test_a_fence_that_was_deleted_starts_above_all_that_is_known() -> None:
    """Else reservations and tickets of long ago would be covered again."""
    store = FencedStore(None)
    fence = await take_over(make_hands(store).world, store.gangs())
    assert fence.spec == Fence(term=TERM + 1, seq=0)
    assert store.gang is not None
    assert store.gang.status.reservation == RELEASED.status.reservation


def test_tickets_tell_of_terms_as_well() -> None:
    world = make_hands(GangStore(make_gang())).world
    world.singles["u-s"] = released("s", 0, epoch="9-3", label="")
    assert latest_term(world) == 9
