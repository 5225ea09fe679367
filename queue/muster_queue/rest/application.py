"""The api as one ASGI application: the door, and behind it a handler for each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry

from muster_kube.clock import Clock
from muster_kube.serve import AsgiApp
from muster_queue.rest.around_handlers import AroundHandlers
from muster_queue.rest.bulk import SubmitMany
from muster_queue.rest.door import Door, Gate
from muster_queue.rest.job_handlers import JobHandlers
from muster_queue.rest.metrics import RestMetrics
from muster_queue.rest.operations import OPERATIONS
from muster_queue.rest.pool_handlers import PoolHandlers
from muster_queue.rest.pool_service import NoPools, PoolService
from muster_queue.rest.process_handlers import process_handlers
from muster_queue.rest.responses import as_app
from muster_queue.rest.routing import RouteTable
from muster_queue.rest.service import JobService
from muster_queue.rest.streams import StreamSlots
from muster_queue.rest.submitting import SubmitOne


def make_application(
    service: JobService,
    gate: Gate,
    clock: Clock,
    metrics: RestMetrics,
    registry: CollectorRegistry,
    *,
    unready: Callable[[], Sequence[str]] | None = None,
    pools: PoolService | None = None,
) -> Door:
    """What uvicorn runs. An operation without a handler is a mistake that shows here and not at its first request."""
    handlers = {
        **_handlers(service, StreamSlots(metrics.streams), clock),
        **PoolHandlers(pools or NoPools()).by_name(),
        **process_handlers(unready or service.unready, registry),
    }
    missing = {operation.name for operation in OPERATIONS} ^ handlers.keys()
    if missing:
        raise RuntimeError(f"operations and handlers differ: {', '.join(sorted(missing))}")
    return Door(RouteTable(OPERATIONS), handlers, gate, service.find, metrics)


def _handlers(service: JobService, slots: StreamSlots, clock: Clock) -> Mapping[str, AsgiApp]:
    starlette = {**JobHandlers(service, slots, clock).by_name(), **AroundHandlers(service).by_name()}
    return {
        "submit_job": SubmitOne(service),
        "submit_jobs": SubmitMany(service),
        **{name: as_app(handler) for name, handler in starlette.items()},
    }
