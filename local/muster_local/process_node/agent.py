"""Hands every pod of this node to a worker of its own and cleans up after those that went while it was away."""

from __future__ import annotations

import asyncio

import structlog

from muster_kube.reflector import Reflector
from muster_local.process_node.cleanup import end_pod
from muster_local.process_node.context import NodeContext
from muster_local.process_node.folders import PodRecord
from muster_local.process_node.objects import Pod
from muster_local.process_node.pod_worker import PodWorker

log = structlog.get_logger(__name__)

_ORPHAN_GRACE = 2.0


class Agent:
    """`run` is a supervised task; `workers` are the pods by uid."""

    def __init__(self, context: NodeContext, pods: Reflector[Pod]) -> None:
        self.workers: dict[str, PodWorker] = {}
        self._context = context
        self._pods = pods
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses: dict[str, str] = {}

    async def run(self) -> None:
        """Follows the pods until cancelled; their processes go on."""
        known = self._context.folders.known_pods()
        self._addresses = {record.uid: record.address for record in known}
        await self._pods.synced.wait()
        self._pods.subscribe(self._added, lambda _, new: self._changed(new), self._deleted)
        orphans = [record for record in known if record.uid not in self.workers]
        try:
            await asyncio.gather(*map(self._end_orphan, orphans))
            await asyncio.get_running_loop().create_future()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _added(self, pod: Pod) -> None:
        try:
            worker = PodWorker(self._context, pod, self._addresses.pop(pod.uid, None))
        except Exception:
            # Its folder is not what we wrote; all other pods go on.
            log.exception("pod not taken up", pod=f"{pod.metadata.namespace}/{pod.metadata.name}")
            return
        self.workers[pod.uid] = worker
        task = asyncio.create_task(worker.run(), name=f"pod {pod.metadata.namespace}/{pod.metadata.name}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(pod.uid, done))

    def _changed(self, pod: Pod) -> None:
        worker = self.workers.get(pod.uid)
        if worker is not None:
            worker.see(pod)

    def _deleted(self, pod: Pod) -> None:
        worker = self.workers.get(pod.uid)
        if worker is not None:
            worker.lose()

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.workers.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pod given up", task=task.get_name(), exc_info=error)

    async def _end_orphan(self, record: PodRecord) -> None:
        folder = self._context.folders.pod(record.uid)
        ended = await asyncio.to_thread(end_pod, folder.path, _ORPHAN_GRACE)
        folder.remove()
        self._context.addresses.give_back(record.address)
        log.info("pod went while the node was away", pod=f"{record.namespace}/{record.name}", containers=ended)
