"""Turns changes of the world into what the loop looks at next, and lets it sleep until then."""

from __future__ import annotations

import asyncio
from typing import Final

from muster_kube.clock import Clock
from muster_queue.controller.agenda import Agenda
from muster_queue.controller.backlog import Owner
from muster_queue.controller.groups import GroupKey
from muster_queue.controller.world import Listeners, World

SHORTEST_SPACING: Final = 0.02
LONGEST_SPACING: Final = 0.5
SHARE: Final = 0.04
"""Of one core, that looking at one gang may take while it changes all the time."""
STIR: Final = 0.2
"""Before changes are looked at that only numbers in a status depend on."""
BREATH: Final = 0.005
"""Changes that arrive together are looked at together."""


class Attention:
    """Which gangs and single pods have to be looked at, and whether the cluster's room has changed."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.has_new_room = True
        self.has_new_nodes = False
        self.plan_at: float | None = None
        self._world = world
        self._clock = clock
        self._agenda: Agenda[Owner] = Agenda()
        self._spacing: dict[GroupKey, float] = {}
        self._news = asyncio.Event()

    def listen(self) -> None:
        """Hear of every change from now on, and look at everything once."""
        self._world.listeners = Listeners(
            group_changed=self.mark_group,
            group_stirred=self.stir_group,
            single_changed=self.mark_single,
            room_changed=self.new_room,
            nodes_changed=self.new_nodes,
        )
        for key in self._world.groups:
            self.mark_group(key)
        for uid in self._world.singles:
            self.mark_single(uid)

    def mark_group(self, key: GroupKey) -> None:
        """Large gangs are looked at less often while they change all the time."""
        if self._agenda.mark(key, self._clock.monotonic(), self._spacing.get(key, SHORTEST_SPACING)):
            self._news.set()

    def stir_group(self, key: GroupKey) -> None:
        """Many small changes are looked at together, a little later."""
        self.recheck(key, STIR)

    def mark_single(self, uid: str) -> None:
        if self._agenda.mark(uid, self._clock.monotonic()):
            self._news.set()

    def new_room(self) -> None:
        """Something was given back: who waits may fit now."""
        self.has_new_room = True
        self._news.set()

    def new_nodes(self) -> None:
        """Nodes came, went or changed what they accept."""
        self.has_new_nodes = True
        self.new_room()

    def looked(self, key: GroupKey, seconds: float) -> None:
        """How long a look at it took says how often it can be afforded."""
        self._spacing[key] = min(LONGEST_SPACING, max(SHORTEST_SPACING, seconds / SHARE))

    def recheck(self, owner: Owner, after: float) -> None:
        """Look at it again by then, even if nothing happens."""
        if self._agenda.mark_at(owner, self._clock.monotonic() + after):
            self._news.set()

    def forget(self, owner: Owner) -> None:
        self._agenda.forget(owner)
        if isinstance(owner, tuple):
            self._spacing.pop(owner, None)

    def take_due(self) -> list[Owner]:
        return self._agenda.take_due(self._clock.monotonic())

    async def wait(self) -> None:
        """Until something is due, or a plan is."""
        await asyncio.sleep(BREATH)
        while (delay := self._delay()) > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._news.wait()
            except TimeoutError:
                return

    def _delay(self) -> float:
        if self.has_new_room and self.plan_at is None:
            return 0.0
        moments = [moment for moment in (self._agenda.next_due(), self.plan_at) if moment is not None]
        return min(moments, default=self._clock.monotonic() + 60.0) - self._clock.monotonic()
