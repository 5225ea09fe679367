"""Leader election on a Lease, by compare-and-swap and by what this process has seen with its own monotonic clock.

A Lease only saves work: two processes may believe to lead for a moment, and what they write is fenced elsewhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from muster_api.objects import KubernetesStruct, ObjectMeta
from muster_kube.clock import Clock, SystemClock, micro_time
from muster_kube.errors import ApiError, Conflict, NotFound
from muster_kube.resources import LEASES
from muster_kube.writer import Writer

log = structlog.get_logger(__name__)
_spread: Final = random.SystemRandom()

Lead = Callable[[int], Coroutine[Any, Any, None]]
"""The work of a leader; gets the term, and is cancelled when leadership is lost."""


class SupersededError(Exception):
    """A restarted replica leads under this one's identity: this process is the one that it replaced, and must end."""


class LeaseSpec(KubernetesStruct, frozen=True, kw_only=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


_decode: Final = msgspec.json.Decoder(Lease).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Which Lease, who we are, and the three durations in seconds."""

    namespace: str
    name: str
    identity: str
    """Of this replica. A restarted one takes its predecessor's Lease at once, under a new term."""
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    @property
    def path(self) -> str:
        return LEASES.object_path(self.namespace, self.name)

    @property
    def collection(self) -> str:
        return LEASES.in_namespace(self.namespace).collection


@dataclass(slots=True)
class Observation:
    """The Lease as last read, and since when it has not changed by our own clock."""

    resource_version: str = ""
    spec: LeaseSpec = field(default_factory=LeaseSpec)
    since: float = 0.0

    def update(self, lease: Lease, now: float) -> None:
        """A new resourceVersion restarts the holder's time; nobody's wall clock is looked at."""
        if lease.metadata.resource_version != self.resource_version:
            self.resource_version = lease.metadata.resource_version
            self.since = now
        self.spec = lease.spec


def may_take(observation: Observation, identity: str, duration: float, now: float) -> bool:
    """Whether the Lease is free: released, ours already, or not renewed for as long as its holder promised."""
    spec = observation.spec
    if not spec.holder_identity or spec.holder_identity == identity:
        return True
    return now - observation.since > max(duration, float(spec.lease_duration_seconds or 0))


class LeaderElector:
    """Campaigns for one Lease. `run(lead)` is the whole use of it; the rest is for looking on."""

    def __init__(self, writer: Writer, settings: LeaseSettings, clock: Clock | None = None) -> None:
        self.term: int | None = None
        """Number of this leadership, higher than every one before; None while not leading."""
        self.elected = asyncio.Event()
        self._writer = writer
        self._settings = settings
        self._clock = clock or SystemClock()
        self._observation = Observation()
        self._valid_until = 0.0
        self._superseded = False

    @property
    def is_leader(self) -> bool:
        """Also false after a pause of this very process that was too long to have renewed in time."""
        return self.term is not None and self._clock.monotonic() < self._valid_until

    @property
    def holder(self) -> str:
        """Who led when last looked; empty when nobody did."""
        return self._observation.spec.holder_identity or ""

    async def run(self, lead: Lead) -> None:
        """Campaigns for ever, and leads whenever elected; ends when `lead` ends by itself, or by cancellation.

        The Lease is given back only after the work has ended, so that a successor never overlaps with it. Raises
        SupersededError when another process leads under the same identity.
        """
        lost = True
        while lost:
            term = await self._acquire()
            lost = await self._lead(term, lead)
            if self._superseded:
                raise SupersededError(f"{self._settings.identity} has been restarted and leads")

    async def _acquire(self) -> int:
        while True:
            try:
                term = await self._try_acquire()
            except ApiError as error:
                log.warning("lease not reachable", lease=self._settings.name, error=str(error))
                term = None
            if term is not None:
                log.info("elected", lease=self._settings.name, term=term)
                return term
            await asyncio.sleep(self._settings.retry_period * _spread.uniform(1.0, 1.2))

    async def _try_acquire(self) -> int | None:
        started = self._clock.monotonic()
        settings = self._settings
        try:
            self._observe(await self._writer.get(settings.path, Lease, timeout=settings.retry_period))
            if not may_take(self._observation, settings.identity, settings.duration, self._clock.monotonic()):
                return None
            spec = self._claim((self._observation.spec.lease_transitions or 0) + 1)
            self._observe(await self._swap(spec, settings.retry_period))
        except NotFound:
            spec = self._claim(1)
            self._observe(await self._create(spec, settings.retry_period))
        except Conflict:
            return None
        self._hold(spec, started)
        return self.term

    async def _lead(self, term: int, lead: Lead) -> bool:
        """True when leadership was lost before the work ended."""
        renewing = asyncio.create_task(self._renew_until_lost(), name="renew lease")
        work = asyncio.create_task(lead(term), name=f"lead term {term}")
        try:
            await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return False
            return True
        finally:
            # The renewals go on while the work winds down; the Lease is free only after that.
            await _end(work)
            await _end(renewing)
            await self._step_down()

    async def _renew_until_lost(self) -> None:
        while self.is_leader:
            await asyncio.sleep(self._settings.retry_period)
            try:
                await self._renew()
            except (Conflict, NotFound):
                await self._look_who_holds()
            except ApiError as error:
                log.warning("lease not renewed", lease=self._settings.name, error=str(error))
        self._forget("not renewed in time")

    async def _renew(self) -> None:
        started = self._clock.monotonic()
        spec = msgspec.structs.replace(self._observation.spec, renew_time=micro_time(self._clock.now()))
        self._observe(await self._swap(spec, self._patience(started)))
        self._hold(spec, started)

    async def _look_who_holds(self) -> None:
        """A conflict may be with our own write whose answer was lost: then we lead on from what is there."""
        try:
            lease = await self._writer.get(self._settings.path, Lease, timeout=self._settings.retry_period)
        except NotFound:
            self._forget("lease deleted")
        except ApiError as error:
            log.warning("lease not readable", lease=self._settings.name, error=str(error))
        else:
            self._observe(lease)
            if lease.spec.holder_identity != self._settings.identity:
                self._forget("another holder")
            elif lease.spec.lease_transitions != self.term:
                self._superseded = True
                self._forget("superseded by a restarted replica")

    async def _step_down(self) -> None:
        held, term = self.is_leader, self.term
        self._forget("stepping down")
        if not held:
            return
        try:
            await self._release()
        except Conflict:
            # With our own last renewal, whose answer nobody waited for.
            await self._release_as_it_is_now(term)
        except ApiError as error:
            log.warning("lease not released", lease=self._settings.name, error=str(error))

    async def _release(self) -> None:
        released = msgspec.structs.replace(self._observation.spec, holder_identity="", lease_duration_seconds=1)
        self._observe(await self._swap(released, self._settings.retry_period))

    async def _release_as_it_is_now(self, term: int | None) -> None:
        try:
            self._observe(await self._writer.get(self._settings.path, Lease, timeout=self._settings.retry_period))
            if self.holder == self._settings.identity and self._observation.spec.lease_transitions == term:
                await self._release()
        except ApiError as error:
            log.warning("lease not released", lease=self._settings.name, error=str(error))

    def _claim(self, term: int) -> LeaseSpec:
        now = micro_time(self._clock.now())
        return LeaseSpec(
            holder_identity=self._settings.identity,
            lease_duration_seconds=max(1, round(self._settings.duration)),
            acquire_time=now,
            renew_time=now,
            lease_transitions=term,
        )

    def _hold(self, spec: LeaseSpec, started: float) -> None:
        # Counted from before the request: the write may have been applied right after it was sent.
        self._valid_until = started + self._settings.renew_deadline
        self.term = spec.lease_transitions
        self.elected.set()

    def _forget(self, why: str) -> None:
        if self.term is not None:
            log.info("not leading any more", lease=self._settings.name, term=self.term, why=why)
        self.term = None
        self._valid_until = 0.0
        self.elected.clear()

    def _observe(self, lease: Lease) -> None:
        self._observation.update(lease, self._clock.monotonic())

    def _patience(self, now: float) -> float:
        return max(0.1, min(self._settings.retry_period * 2, self._valid_until - now))

    async def _create(self, spec: LeaseSpec, timeout: float) -> Lease:
        return _decode(await self._writer.create(self._settings.collection, self._body(spec, ""), timeout=timeout))

    async def _swap(self, spec: LeaseSpec, timeout: float) -> Lease:
        body = self._body(spec, self._observation.resource_version)
        return _decode(await self._writer.replace(self._settings.path, body, timeout=timeout))

    def _body(self, spec: LeaseSpec, resource_version: str) -> dict[str, Any]:
        metadata = {"name": self._settings.name, "namespace": self._settings.namespace}
        if resource_version:
            metadata["resourceVersion"] = resource_version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
