"""The four verbs that kube-scheduler calls: bytes in, bytes out, and nothing but memory between, bind excepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import structlog

from muster_api.answers import NOT_RELEASED
from muster_extender.binding import Binder
from muster_extender.candidates import Candidates, filter_result
from muster_extender.filtering import (
    NO_ROOM,
    PLANNED_ELSEWHERE,
    PLANNED_NODE_UNFIT,
    Accept,
    Reject,
    RetryError,
    Room,
    decide_filter,
)
from muster_extender.freshness import Freshness
from muster_extender.fuse import Fuse
from muster_extender.held_calls import HeldCall, HeldCalls
from muster_extender.metrics import Metrics
from muster_extender.pods import PodRecord, gpu_demand
from muster_extender.preempting import allowed_victims
from muster_extender.protocol import (
    BIND_SUCCESS,
    ExtenderPreemptionResult,
    decode_args,
    decode_binding,
    decode_preemption,
    encode_binding_error,
    pod_of,
)
from muster_extender.routing import AlreadyBound, BindNow, Park, Refuse, decide_bind
from muster_extender.scoring import Strategy, score_nodes
from muster_extender.state import ClusterState
from muster_kube.clock import Clock

log = structlog.get_logger(__name__)

STALE: Final = "the extender has lost sight of the API server"
TOO_SLOW: Final = "the extender took too long to decide"
OFTEN_REJECTED: Final = "rejected too often in a short time; last: "
LONGEST_DECISION_SECONDS: Final = 0.5
LEAST_SECONDS_TO_BIND: Final = 1.0

T = TypeVar("T")


class Verbs:
    """Answers to kube-scheduler. Each takes a request's body; ProtocolError means that it made no sense."""

    def __init__(
        self,
        state: ClusterState,
        freshness: Freshness,
        fuse: Fuse,
        held: HeldCalls,
        binder: Binder,
        clock: Clock,
        metrics: Metrics,
        strategy: Strategy,
    ) -> None:
        self._state = state
        self._freshness = freshness
        self._fuse = fuse
        self._held = held
        self._binder = binder
        self._clock = clock
        self._metrics = metrics
        self._strategy = strategy

    def filter(self, body: bytes, since: float) -> bytes:
        """Where the pod may go; every candidate is named in one of the lists."""
        args = decode_args(body)
        pod, candidates = pod_of(args), Candidates(args.node_names)
        if not self._freshness.is_fresh:
            return self._filter_error(STALE)
        record = self._state.show(pod)
        match decide_filter(record, self._state):
            case Accept(node) if node in candidates:
                self._state.take_slot(record)
                self._fuse.forget(record.uid)
                answer = filter_result((node,), candidates.refused(PLANNED_ELSEWHERE, but=node))
                outcome = "accepted"
            case Accept():
                return self._reject(record, candidates, PLANNED_NODE_UNFIT)
            case Room(demand):
                fitting = [] if demand is None else self._state.ledger.with_room(candidates.names, demand)
                if not fitting:
                    return self._reject(record, candidates, NO_ROOM)
                answer, outcome = self._with_room(candidates, fitting), "room"
            case Reject(message):
                return self._reject(record, candidates, message)
            case RetryError(message):
                return self._filter_error(message)
        if self._clock.monotonic() - since > LONGEST_DECISION_SECONDS:
            return self._filter_error(TOO_SLOW)
        self._metrics.filters[outcome].inc()
        return answer

    def prioritize(self, body: bytes, since: float) -> bytes:
        """Scores from 0 to 10 by the strategy of the installation."""
        args = decode_args(body)
        pod, candidates = pod_of(args), Candidates(args.node_names)
        resources = gpu_demand(pod, self._state.resources) or {}
        state = self._state
        scores = score_nodes(self._strategy, candidates.names, resources, pod.metadata.uid, state.ledger, state.nodes)
        return msgspec.json.encode(scores)

    def preempt(self, body: bytes, since: float) -> bytes:
        """The nodes on which preemption would hurt no member of a gang."""
        args = decode_preemption(body)
        pod_of(args)
        candidates = args.candidates() if self._freshness.is_fresh else {}
        return msgspec.json.encode(ExtenderPreemptionResult(allowed_victims(candidates, self._state)))

    async def bind(self, body: bytes, call: HeldCall) -> bytes:
        """Binds the pod, for a gang's member once the whole gang may be bound."""
        args = decode_binding(body)
        if not self._freshness.is_fresh:
            return encode_binding_error(STALE)
        match decide_bind(args, self._state):
            case AlreadyBound():
                return BIND_SUCCESS
            case Refuse(message):
                error = message
            case BindNow(record):
                error = await self._binder.bind(record, args.node, self._is_alive(call))
            case Park(record, _) as park:
                error = await self._held.park(park, call)
                error = error or await self._binder.bind(record, args.node, self._is_alive(call))
        if error:
            log.info("bind refused", pod=args.pod_name, namespace=args.pod_namespace, uid=args.pod_uid, error=error)
        return encode_binding_error(error) if error else BIND_SUCCESS

    def _is_alive(self, call: HeldCall) -> Callable[[], bool]:
        return lambda: call.is_open and self._clock.monotonic() < call.expires - LEAST_SECONDS_TO_BIND

    def _with_room(self, candidates: Candidates, fitting: list[str]) -> bytes:
        """Refusals are final: the room is reserved, and evicting the pods that run there would not free it."""
        if len(fitting) == len(candidates.names):
            return filter_result(fitting)
        left = set(candidates.names).difference(fitting)
        return filter_result(fitting, msgspec.json.encode(dict.fromkeys(left, NO_ROOM)))

    def _reject(self, record: PodRecord, candidates: Candidates, message: str) -> bytes:
        if self._fuse.reject(record.uid, self._clock.monotonic()):
            return self._filter_error(OFTEN_REJECTED + message)
        self._metrics.filters["rejected"].inc()
        if message not in (NOT_RELEASED, NO_ROOM):
            log.info("filter rejects", pod=record.name, namespace=record.namespace, uid=record.uid, reason=message)
        return filter_result((), candidates.refused(message))

    def _filter_error(self, message: str) -> bytes:
        self._metrics.filters["error"].inc()
        return filter_result((), error=message)
