"""All pools of one process, as the api asks for them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry

from muster_api.jobs import FailureClass, JobType
from muster_api.objects import KubernetesStruct
from muster_kube.clock import Clock
from muster_queue.index.keys import QueueKey
from muster_queue.index.queue_index import QueueIndex
from muster_queue.intake import errors as intake_errors
from muster_queue.jobs.failures import AttemptEnd
from muster_queue.pools.batching import NaturalBatches
from muster_queue.pools.dispatcher import Dispatcher
from muster_queue.pools.index_upkeep import IndexUpkeep
from muster_queue.pools.metrics import PoolMetrics
from muster_queue.pools.settings import PoolSettings
from muster_queue.pools.settling import Ending, Settler
from muster_queue.pools.waiting import Waiter
from muster_queue.rest import service_errors
from muster_queue.rest.job_types import EnvironmentAnswer
from muster_queue.rest.pool_service import (
    LARGEST_RESULT,
    AcknowledgeAnswer,
    AcknowledgedAnswer,
    AcknowledgeRequest,
    AttemptAnswer,
    BeatRequest,
    HeartbeatAnswer,
    LeaseAnswer,
    LeaseRequest,
    PoolName,
    Verdict,
    WorkerIdentity,
)
from muster_queue.rest.problems import ProblemError
from muster_queue.rest.wire import check_depth
from muster_queue.storage import errors as storage_errors
from muster_queue.storage.attempts import Attempts
from muster_queue.storage.database import Database
from muster_queue.storage.jobs import Jobs
from muster_queue.storage.records import NOTHING, Beat, Claimed

BUSY_SECONDS: Final = 1.0
PROGRESS_DIGITS: Final = 4
_POOL_TYPES: Final = frozenset({JobType.INFERENCE, JobType.SIMULATION})
_NO_NUL: Final = re.compile(rb"(?<!\\)(\\\\)*\\u0000")


class _Pooled(KubernetesStruct, frozen=True, kw_only=True, gc=False):
    """What a worker has to know of a job's specification."""

    config: msgspec.Raw = msgspec.Raw(b"{}")
    env: tuple[EnvironmentAnswer, ...] = ()
    timeout_seconds: int | None = None


_SPEC: Final = msgspec.json.Decoder(_Pooled)


class _HeldBeat(msgspec.Struct, frozen=True, gc=False):
    queue: QueueKey
    beat: Beat


class Pools:
    """Implements rest.pool_service.PoolService. `run` must be running for anybody to get an answer."""

    def __init__(
        self,
        database: Database,
        index: QueueIndex,
        settings: PoolSettings,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._attempts = Attempts(database)
        self._index = index
        self._settings = settings
        self._clock = clock
        self._metrics = PoolMetrics(registry)
        jobs = Jobs(database)
        self._upkeep = IndexUpkeep(index, jobs, settings.lease_seconds)
        settler = Settler(self._attempts, jobs, self._upkeep)
        room = settings.most_acknowledging
        self._endings = NaturalBatches[Ending, Verdict](
            "acknowledgements", settler.settle, lambda ending: ending.job_id, room, settings.settling_pace
        )
        self._beats = NaturalBatches[_HeldBeat, bool](
            "heartbeats", self._beat, lambda held: held.beat.id, room, settings.settling_pace
        )
        self._dispatchers: dict[QueueKey, Dispatcher] = {}
        self._group: asyncio.TaskGroup | None = None
        self._waiting: Counter[str] = Counter()
        self._is_leaving = False

    async def run(self) -> None:
        """Until it is cancelled; then whoever waits goes away with nothing."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._endings.run(), name="acknowledgements")
                group.create_task(self._beats.run(), name="heartbeats")
                group.create_task(self._upkeep.run(), name="index upkeep")
                for dispatcher in self._dispatchers.values():
                    group.create_task(self._dispatch(dispatcher))
        finally:
            self._group = None
            self.send_away()

    def send_away(self) -> None:
        """Nobody waits here any more, as before a stop: workers ask again, and find another replica."""
        self._is_leaving = True
        for dispatcher in self._dispatchers.values():
            dispatcher.line.send_away()

    @property
    def waiting_workers(self) -> int:
        return self._waiting.total()

    def awaken(self, queues: Iterable[tuple[str, str]]) -> None:
        """Jobs of these (namespace, queue) are waiting now: told after they were put into the index, or not."""
        for namespace, queue in queues:
            dispatcher = self._dispatchers.get(QueueKey(namespace, queue))
            if dispatcher is not None:
                dispatcher.awaken()

    async def lease(self, pool: PoolName, worker: WorkerIdentity, wanted: LeaseRequest) -> list[LeaseAnswer]:
        most, of_namespace = self._settings.most_waiting, self._settings.most_waiting_of_namespace
        if self._waiting.total() >= most or self._waiting[pool.namespace] >= of_namespace:
            raise service_errors.Overloaded(BUSY_SECONDS, "too many workers are waiting here")
        with _as_service_errors():
            claimed = await self._wait(pool, worker, wanted)
        return [self._lease_of(each) for each in claimed]

    async def heartbeat(
        self, pool: PoolName, worker: WorkerIdentity, beats: tuple[BeatRequest, ...]
    ) -> HeartbeatAnswer:
        queue = QueueKey(pool.namespace, pool.queue)
        by_job = {UUID(beat.job_id): beat for beat in beats}
        held = [
            _HeldBeat(queue, Beat(id=job_id, attempt=beat.attempt, progress=_kept(beat.progress), holder=worker.holder))
            for job_id, beat in by_job.items()
        ]
        with _as_service_errors():
            kept = await self._beats.submit(held)
        alive = {(each.beat.id, each.beat.attempt) for each, is_kept in zip(held, kept, strict=True) if is_kept}
        lost = [
            AttemptAnswer(job_id=beat.job_id, attempt=beat.attempt)
            for beat in beats
            if (UUID(beat.job_id), beat.attempt) not in alive
        ]
        self._metrics.lost.inc(len(lost))
        return HeartbeatAnswer(lease_seconds=self._settings.lease_seconds, lost=lost)

    async def acknowledge(
        self, pool: PoolName, worker: WorkerIdentity, request: AcknowledgeRequest
    ) -> AcknowledgeAnswer:
        queue = QueueKey(pool.namespace, pool.queue)
        refused = {success.job_id: text for success in request.successes if (text := _unfit(success.result))}
        endings: dict[str, Ending] = {}
        for success in request.successes:
            if success.job_id not in refused:
                endings.setdefault(
                    success.job_id, _ending(queue, worker, success.job_id, success.attempt, success.result)
                )
        for failure in request.failures:
            end = AttemptEnd(FailureClass(failure.failure.value), failure.message or "failed", failure.exit_code)
            endings.setdefault(failure.job_id, _ending(queue, worker, failure.job_id, failure.attempt, end=end))
        with _as_service_errors():
            verdicts = await self._endings.submit(list(endings.values()))
        self._metrics.acknowledged(verdicts)
        found = dict(zip(endings, verdicts, strict=True))
        attempts = [(each.job_id, each.attempt) for each in request.successes]
        attempts += [(each.job_id, each.attempt) for each in request.failures]
        return AcknowledgeAnswer(attempts=[_answer(*each, endings, found, refused) for each in attempts])

    async def _wait(self, pool: PoolName, worker: WorkerIdentity, wanted: LeaseRequest) -> list[Claimed]:
        if self._is_leaving:
            return []
        loop = asyncio.get_running_loop()
        waiter = Waiter(worker.holder, worker.actor, wanted.most, _types(wanted), loop.create_future())
        dispatcher = self._dispatcher(QueueKey(pool.namespace, pool.queue))
        self._count(pool.namespace, 1)
        dispatcher.join(waiter)
        timer = loop.call_later(wanted.wait_seconds, dispatcher.line.time_over, waiter)
        try:
            return await waiter.answer
        finally:
            timer.cancel()
            self._count(pool.namespace, -1)

    def _dispatcher(self, queue: QueueKey) -> Dispatcher:
        if self._group is None:
            raise storage_errors.StorageAway("this process is stopping")
        dispatcher = self._dispatchers.get(queue)
        if dispatcher is None:
            dispatcher = Dispatcher(
                queue, self._attempts, self._index, self._upkeep, self._settings, self._clock, self._metrics
            )
            self._dispatchers[queue] = dispatcher
            self._group.create_task(self._dispatch(dispatcher), name=f"pool {queue}")
        return dispatcher

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        finally:
            # In the same step in which it ended: whoever comes next gets a new one.
            dispatcher.line.send_away()
            self._dispatchers.pop(dispatcher.queue, None)

    def _count(self, namespace: str, by: int) -> None:
        self._waiting[namespace] += by
        if not self._waiting[namespace]:
            del self._waiting[namespace]
        self._metrics.waiting.set(self._waiting.total())

    async def _beat(self, held: list[_HeldBeat]) -> list[bool]:
        seconds = self._settings.lease_seconds
        kept = await self._attempts.heartbeat([each.beat for each in held], lease_seconds=seconds)
        for each in held:
            if (each.beat.id, each.beat.attempt) in kept:
                self._upkeep.kept(each.queue, each.beat.id, each.beat.attempt)
        return [(each.beat.id, each.beat.attempt) in kept for each in held]

    def _lease_of(self, claimed: Claimed) -> LeaseAnswer:
        try:
            spec = _SPEC.decode(claimed.spec)
        except msgspec.DecodeError:
            # A row that was written by hand: the worker will refuse it, and the others of the batch are well.
            spec = _Pooled()
        return LeaseAnswer(
            job_id=str(claimed.id),
            attempt=claimed.attempt,
            name=claimed.name,
            job_type=claimed.job_type,
            priority=claimed.priority,
            config=spec.config,
            env=spec.env,
            timeout_seconds=spec.timeout_seconds,
            trace=claimed.trace,
            lease_seconds=self._settings.lease_seconds,
        )


def _types(wanted: LeaseRequest) -> tuple[str, ...] | None:
    """None where all types that a pool can have are wanted: then the index can choose."""
    if wanted.job_types is None or set(wanted.job_types) >= _POOL_TYPES:
        return None
    return tuple(sorted(set(wanted.job_types)))


def _kept(progress: float | None) -> float | None:
    """A number that is too small for single precision would be refused, and with it the beats of all workers."""
    return None if progress is None else round(progress, PROGRESS_DIGITS)


def _ending(
    queue: QueueKey,
    worker: WorkerIdentity,
    job_id: str,
    attempt: int,
    result: msgspec.Raw = NOTHING,
    *,
    end: AttemptEnd | None = None,
) -> Ending:
    return Ending(
        queue=queue,
        job_id=UUID(job_id),
        attempt=attempt,
        actor=worker.actor,
        holder=worker.holder,
        end=end,
        result=result,
    )


def _answer(
    job_id: str, attempt: int, endings: dict[str, Ending], found: dict[str, Verdict], refused: dict[str, str]
) -> AcknowledgedAnswer:
    ending = endings.get(job_id)
    if ending is None:
        return AcknowledgedAnswer(job_id=job_id, attempt=attempt, verdict=Verdict.REFUSED, detail=refused[job_id])
    if ending.attempt != attempt:
        return AcknowledgedAnswer(job_id=job_id, attempt=attempt, verdict=Verdict.STALE)
    return AcknowledgedAnswer(job_id=job_id, attempt=attempt, verdict=found[job_id])


def _unfit(result: msgspec.Raw) -> str:
    """Why a result cannot be kept; empty where it can."""
    data = bytes(result)
    if len(data) > LARGEST_RESULT:
        return f"result: {len(data)} bytes, and at most {LARGEST_RESULT} are kept"
    try:
        check_depth(data)
        msgspec.json.decode(data)
    except (ProblemError, ValueError, RecursionError) as error:
        return f"result: {error}"
    if _NO_NUL.search(data):
        return "result: has a NUL character, which cannot be kept"
    return ""


@contextmanager
def _as_service_errors() -> Iterator[None]:
    try:
        yield
    except storage_errors.OutcomeUnknown as error:
        raise service_errors.OutcomeUnknown(str(error)) from error
    except intake_errors.Overloaded as error:
        raise service_errors.Overloaded(float(error.retry_after), "too much is waiting to be stored") from error
    except storage_errors.StorageError as error:
        raise service_errors.StorageAway(str(error)) from error
