"""Posts bindings: a bounded number at once, each for a call that is still held, and each until its end is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from muster_api.objects import Pod
from muster_extender.metrics import Metrics
from muster_extender.pods import PodRecord
from muster_extender.state import ClusterState
from muster_kube import failpoints
from muster_kube.backoff import Backoff
from muster_kube.errors import AmbiguousWrite, ApiError, Conflict, NotFound, TooManyRequests, Unavailable
from muster_kube.resources import PODS
from muster_kube.tracing import NO_TRACER, Tracer, follow
from muster_kube.writer import Writer

log = structlog.get_logger(__name__)

CALL_GONE: Final = "the scheduler has given up on this call"
POD_GONE: Final = "the pod is gone"
BOUND_ELSEWHERE: Final = "the pod is bound to another node"
NOT_BINDABLE: Final = "the API server refuses to bind the pod"
ANOTHER_UNDER_WAY: Final = "another binding of the pod was under way"
_TIMEOUT: Final = 10.0
# How long the API server may still be at work on a request that it never answered.
IN_DOUBT_SECONDS: Final = 60.0

IsAlive = Callable[[], bool]


class BindRate:
    """How many bindings a second can go through.

    Learned only while every slot is taken: a trickle tells how many were asked for, not how many are possible. A floor
    keeps one bad minute from holding up all large gangs, whose bindings alone could show that it is over.
    """

    def __init__(self, concurrency: int, *, initial: float = 200.0, lowest: float = 50.0) -> None:
        self._rate = initial
        self._lowest = lowest
        self._concurrency = concurrency
        self._under_way = 0
        self._done = 0
        self._since = 0.0

    def __call__(self) -> float:
        return self._rate

    def begin(self, now: float) -> None:
        """A binding has been asked for."""
        self._under_way += 1
        if self._under_way == self._concurrency:
            self._done, self._since = 0, now

    def end(self, now: float) -> None:
        """One has ended; the one that leaves a slot free tells how fast they went while none was."""
        is_full = self._under_way >= self._concurrency
        self._under_way -= 1
        if not is_full:
            return
        self._done += 1
        lasted = now - self._since
        if self._under_way < self._concurrency and self._done >= self._concurrency and lasted > 0:
            self._rate = max(self._lowest, 0.7 * self._rate + 0.3 * self._done / lasted)


class _Attempt(msgspec.Struct, frozen=True, gc=False):
    error: str
    """Empty once the pod is bound as wanted."""
    may_land: bool
    """Whether a request that was never answered may still bind the pod."""


class Binder:
    """Turns a decision to bind into a bound pod, or into the error that sends the pod back into the queue."""

    def __init__(
        self,
        writer: Writer,
        state: ClusterState,
        rate: BindRate,
        metrics: Metrics,
        concurrency: int,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._writer = writer
        self._state = state
        self._rate = rate
        self._metrics = metrics
        self._tracer = tracer
        self._slots = asyncio.Semaphore(concurrency)
        self._under_way: dict[str, tuple[str, asyncio.Task[str]]] = {}
        self._in_doubt: dict[str, asyncio.TimerHandle] = {}

    async def bind(self, record: PodRecord, node: str, is_alive: IsAlive) -> str:
        """Binds the pod; the empty string for success, else why not.

        A second call for a pod whose binding is under way waits for that one's end; its success is not the second
        one's where that wants another node.
        """
        known = self._under_way.get(record.uid)
        if known is None:
            task = asyncio.create_task(self._bind(record, node, is_alive))
            known = self._under_way[record.uid] = node, task
            task.add_done_callback(lambda _: self._under_way.pop(record.uid, None))
        chosen, task = known
        error = await asyncio.shield(task)
        if chosen == node:
            return error
        return ANOTHER_UNDER_WAY if error else BOUND_ELSEWHERE

    async def drain(self) -> None:
        """Waits for every binding that has been posted."""
        await asyncio.gather(*(task for _, task in self._under_way.values()), return_exceptions=True)

    async def _bind(self, record: PodRecord, node: str, is_alive: IsAlive) -> str:
        attributes = {"k8s.namespace.name": record.namespace, "k8s.pod.name": record.name, "k8s.node.name": node}
        span = follow(self._tracer, "bind pod", record.trace, attributes)
        self._rate.begin(time.monotonic())
        try:
            async with self._slots:
                if not is_alive():
                    return CALL_GONE
                error = await self._post(record, node, is_alive)
        finally:
            self._rate.end(time.monotonic())
        self._metrics.count_binding(is_bound=not error)
        span.end(error)
        return error

    async def _post(self, record: PodRecord, node: str, is_alive: IsAlive) -> str:
        doubt = self._in_doubt.pop(record.uid, None)
        if doubt is not None:
            doubt.cancel()
        self._state.begin_bind(record, node)
        # What is interrupted may have been sent.
        attempt = _Attempt("interrupted", may_land=True)
        try:
            attempt = await self._post_until_known(record, node, is_alive, may_land=doubt is not None)
        finally:
            if attempt.error and attempt.may_land:
                self._doubt(record)
            elif attempt.error:
                self._state.cancel_bind(record)
        return attempt.error

    def _doubt(self, record: PodRecord) -> None:
        """The binding may still happen: its GPUs stay taken until that is out of the question."""

        def give_up() -> None:
            del self._in_doubt[record.uid]
            self._state.cancel_bind(record)

        self._in_doubt[record.uid] = asyncio.get_running_loop().call_later(IN_DOUBT_SECONDS, give_up)

    async def _post_until_known(self, record: PodRecord, node: str, is_alive: IsAlive, *, may_land: bool) -> _Attempt:
        backoff = Backoff(first=0.05, longest=2.0)
        while True:
            try:
                await self._writer.bind_pod(record.namespace, record.name, record.uid, node, timeout=_TIMEOUT)
                await failpoints.hit("extender.bind.posted")
                return _Attempt("", may_land=False)
            except Unavailable as error:
                log.warning("binding not acknowledged", pod=record.name, uid=record.uid, error=str(error))
                at_least, settled = 0.0, None
                if isinstance(error, AmbiguousWrite):
                    may_land, settled = True, await self._read(record, node)
            except TooManyRequests as error:
                at_least, settled = error.retry_after, None
            except Conflict as error:
                settled = await self._read(record, node)
                settled = f"{NOT_BINDABLE}: {error.message}" if settled is None else settled
            except ApiError as error:
                settled = POD_GONE if isinstance(error, NotFound) else f"{NOT_BINDABLE}: {error}"
            if settled is not None:
                return _Attempt(settled, may_land and settled not in (POD_GONE, BOUND_ELSEWHERE))
            if not is_alive():
                return _Attempt(CALL_GONE, may_land)
            await asyncio.sleep(backoff.next_delay(at_least))

    async def _read(self, record: PodRecord, node: str) -> str | None:
        """Where the pod is now: empty when bound as wanted, why not when it never will be, None when unbound."""
        backoff = Backoff(first=0.1, longest=2.0)
        path = PODS.object_path(record.namespace, record.name)
        while True:
            try:
                pod = await self._writer.get(path, Pod)
            except NotFound:
                return POD_GONE
            except ApiError as error:
                log.warning("pod cannot be read", pod=record.name, uid=record.uid, error=str(error))
                await asyncio.sleep(backoff.next_delay())
                continue
            return _judge_binding(pod, record, node)


def _judge_binding(pod: Pod, record: PodRecord, node: str) -> str | None:
    if pod.metadata.uid != record.uid or pod.is_deleting:
        return POD_GONE
    if not pod.is_bound:
        return None
    return "" if pod.spec.node_name == node else BOUND_ELSEWHERE
