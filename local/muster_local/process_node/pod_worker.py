"""Follows one pod from its arrival on the node to its end; nothing that happens to it reaches another pod."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from muster_kube.backoff import Backoff
from muster_kube.errors import ApiError, Conflict, NotFound
from muster_kube.events import EventType
from muster_kube.resources import PODS
from muster_local.process_node import limits
from muster_local.process_node.attempts import NotStartedError
from muster_local.process_node.container_runs import ContainerRuns
from muster_local.process_node.context import NodeContext
from muster_local.process_node.decisions import CREATING, Decision, Views, decide, final_phase
from muster_local.process_node.environment import ConfigurationError
from muster_local.process_node.objects import Container, Pod
from muster_local.process_node.pod_files import PodFiles
from muster_local.process_node.probing import Probers
from muster_local.process_node.status import Place, Verdict, pod_status, says_something_new

log = structlog.get_logger(__name__)

_CONFIGURATION_RETRY: Final = 2.0
_ORPHAN_GRACE: Final = 1.0
_DEADLINE: Final = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class PodWorker:
    """`run` is a task of its own; `see` and `lose` tell it what the API server says."""

    def __init__(self, context: NodeContext, pod: Pod, address: str | None = None) -> None:
        self.pod = pod
        self._context = context
        self._address = address
        self._files: PodFiles | None = None
        self._wake = asyncio.Event()
        self._wake.set()
        self._is_lost = False
        self._is_released = False
        self._kill_at: float | None = None
        self._refresh_at = 0.0
        self._backoff = Backoff(first=0.5, longest=30.0)
        self._probers = Probers(self._wake.set, self._tell_unhealthy)
        self._log = log.bind(pod=f"{pod.metadata.namespace}/{pod.metadata.name}")
        folder = context.folders.pod(pod.uid)
        self.runs = {
            container.name: ContainerRuns(container, folder.attempts(container.name), context.rule, self._wake.set)
            for container in pod.all_containers
        }

    def see(self, pod: Pod) -> None:
        """The pod has changed."""
        self._adopt(pod)
        self._wake.set()

    def lose(self) -> None:
        """The pod is gone: whatever still runs of it ends."""
        self._is_lost = True
        self._wake.set()

    def _adopt(self, pod: Pod) -> None:
        # The answer to a write of ours may be newer than what the watch tells next.
        if int(pod.metadata.resource_version or 0) >= int(self.pod.metadata.resource_version or 0):
            self.pod = pod

    async def run(self) -> None:
        """Until the pod is gone; errors are retried with back-off, and a bug costs this pod alone."""
        for runs in self.runs.values():
            await runs.adopt()
        try:
            while not self._is_over():
                await self._next_step()
        finally:
            await self._probers.close()
            for runs in self.runs.values():
                runs.close()
        if self._files is not None:
            self._files.remove(self.pod)
        else:
            self._context.folders.pod(self.pod.uid).remove()
            self._context.addresses.give_back(self._address or "")

    def _is_over(self) -> bool:
        return self._is_lost and not any(runs.is_running for runs in self.runs.values())

    async def _next_step(self) -> None:
        self._wake.clear()
        try:
            delay = await self._step()
            self._backoff.reset()
        except ApiError as error:
            delay = self._backoff.next_delay()
            self._log.warning("pod not followed up", error=str(error), retry=delay)
        except Exception:
            delay = self._backoff.next_delay()
            self._log.exception("pod not understood")
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _step(self) -> float | None:
        """One look at everything; answers in how many seconds to look again if nothing happens."""
        if self._is_lost:
            return self._end_all(_ORPHAN_GRACE)
        if self.pod.is_deleting:
            return await self._finish_deletion()
        if self.pod.is_terminal:
            return self._end_all(_ORPHAN_GRACE)
        if self._is_past_deadline():
            return await self._finish(_DEADLINE)
        trouble = await self._prepare()
        decision = self._decide()
        if trouble is None:
            await self._act(decision)
            decision = self._decide()
        self._follow_probes()
        await self._publish(decision)
        return self._next_look(decision)

    # -- towards running

    async def _prepare(self) -> str | None:
        """The pod's folder and volumes; returns what is missing for them."""
        if self._files is None:
            self._files = PodFiles(self._context, self.pod, self._address)
            self._tell_limits()
        now = self._context.clock.monotonic()
        if now < self._refresh_at:
            return None
        try:
            await self._files.prepare(self.pod)
        except ConfigurationError as error:
            self._refresh_at = now + _CONFIGURATION_RETRY
            self._report(EventType.WARNING, "FailedMount", str(error))
            for runs in self._waiting_runs():
                runs.trouble, runs.retry_at = (CREATING[0], str(error)), self._refresh_at
            return str(error)
        for runs in self._waiting_runs():
            # What else keeps a container from starting is not mended by this.
            if runs.trouble is not None and runs.trouble[0] == CREATING[0]:
                runs.trouble = None
        self._refresh_at = now + self._context.refresh_seconds
        return None

    def _waiting_runs(self) -> Iterator[ContainerRuns]:
        return (runs for runs in self.runs.values() if not runs.is_running)

    def _tell_limits(self) -> None:
        missing = limits.not_honoured(self.pod, self._context.isolation)
        text = "a process node runs programs of this machine; not honoured: " + "; ".join(missing)
        self._report(EventType.NORMAL, "NotHonoured", text)

    def _views(self) -> Views:
        return {name: runs.view() for name, runs in self.runs.items()}

    def _decide(self) -> Decision:
        return decide(self.pod, self._views(), self._context.clock.now(), self._context.rule)

    async def _act(self, decision: Decision) -> None:
        now = self._context.clock.monotonic()
        for name in decision.start:
            runs = self.runs[name]
            if now >= runs.retry_at:
                await self._start(runs)
        for name in decision.stop:
            self.runs[name].terminate()

    async def _start(self, runs: ContainerRuns) -> None:
        assert self._files is not None
        container = runs.container
        entry = self._context.images.find(container.image)
        if entry is None:
            self._refuse_image(runs, container)
            return
        try:
            launch = await self._files.launch(self.pod, container, entry, runs.next_folder())
            await runs.start(launch)
        except (ConfigurationError, NotStartedError) as error:
            reason = "CreateContainerConfigError" if isinstance(error, ConfigurationError) else "RunContainerError"
            runs.trouble = reason, str(error)
            runs.retry_at = self._context.clock.monotonic() + _CONFIGURATION_RETRY
            self._report(EventType.WARNING, "Failed", f"Error: {error}")
            return
        place = entry.description or entry.image
        self._report(EventType.NORMAL, "Started", f"Started container {container.name} as a process: {place}")

    def _refuse_image(self, runs: ContainerRuns, container: Container) -> None:
        text = (
            f"no environment stands for the image {container.image!r} on process nodes; "
            "map it with `muster local up --images FILE` (docs/process-nodes.md)"
        )
        runs.trouble = "ImageNotMapped", text
        # Only a new table helps, and that comes with a restart of the node.
        runs.retry_at = float("inf")
        self._report(EventType.WARNING, "ImageNotMapped", text)

    def _follow_probes(self) -> None:
        if self._files is not None:
            grace = float(self.pod.spec.termination_grace_period_seconds)
            self._probers.follow(self.runs.values(), self._files.address, grace)

    def _tell_unhealthy(self, runs: ContainerRuns, words: str) -> None:
        self._report(EventType.WARNING, "Unhealthy", f"container {runs.container.name}: {words}")

    # -- towards the end

    def _is_past_deadline(self) -> bool:
        return (left := self._seconds_to_deadline()) is not None and left <= 0

    def _seconds_to_deadline(self) -> float | None:
        deadline, started = self.pod.spec.active_deadline_seconds, self.pod.status.get("startTime")
        if deadline is None or started is None:
            return None
        end = datetime.fromisoformat(started) + timedelta(seconds=deadline)
        return (end - self._context.clock.now()).total_seconds()

    def _end_all(self, grace: float) -> float | None:
        """Asks everything to end and later insists; seconds to look again, or None once nothing runs."""
        running = [runs for runs in self.runs.values() if runs.is_running]
        if not running:
            return None
        now = self._context.clock.monotonic()
        if self._kill_at is None:
            self._kill_at = now + grace
            for runs in running:
                runs.terminate()
        # A second deletion may leave less time, never more.
        self._kill_at = min(self._kill_at, now + grace)
        if now >= self._kill_at:
            for runs in running:
                runs.kill()
            return 1.0
        return self._kill_at - now

    async def _finish(self, verdict: Verdict | None) -> float | None:
        """Ends everything, then reports the last status."""
        delay = self._end_all(self._grace_left())
        if delay is not None:
            return delay
        if self._files is not None or self.pod.status.get("podIP"):
            self._files = self._files or PodFiles(self._context, self.pod, self._address)
            decision = self._decide()
            decision.phase = "Failed" if verdict is not None else final_phase(self.pod, self._views())
            await self._publish(decision, verdict)
        return None

    async def _finish_deletion(self) -> float | None:
        if self._is_released:
            return None
        delay = await self._finish(None) if not self.pod.is_terminal else self._end_all(self._grace_left())
        if delay is None:
            await self._release()
        return delay

    def _grace_left(self) -> float:
        """Seconds of grace from now: the API server has added them to the time of the deletion."""
        metadata = self.pod.metadata
        if metadata.deletion_timestamp is None:
            return float(self.pod.spec.termination_grace_period_seconds)
        grace = metadata.deletion_grace_period_seconds
        end = datetime.fromisoformat(metadata.deletion_timestamp)
        left = (end - self._context.clock.now()).total_seconds()
        return max(0.0, min(left, float(grace if grace is not None else left)))

    async def _release(self) -> None:
        """Lets the API server forget the pod: nothing of it runs any more."""
        path = PODS.object_path(self.pod.metadata.namespace, self.pod.metadata.name)
        with contextlib.suppress(NotFound, Conflict):
            await self._context.writer.delete(path, uid=self.pod.uid, grace=0)
        self._is_released = True

    # -- telling

    async def _publish(self, decision: Decision, verdict: Verdict | None = None) -> None:
        """Patches the status if that says something new."""
        assert self._files is not None
        place = Place(self._files.address, self._context.host_address)
        status = pod_status(self.pod, self._views(), decision, place, self._context.clock.now(), verdict)
        if not says_something_new(status, self.pod.status):
            return
        metadata = self.pod.metadata
        path = PODS.object_path(metadata.namespace, metadata.name, "status")
        body: dict[str, Any] = {"metadata": {"uid": self.pod.uid}, "status": status}
        try:
            answer = await self._context.writer.patch_strategic(path, body)
        except (NotFound, Conflict):
            # Gone, or another pod of this name by now: the watch will tell.
            return
        self._adopt(msgspec.json.decode(answer, type=Pod))

    def _next_look(self, decision: Decision) -> float | None:
        now = self._context.clock.monotonic()
        moments = [decision.look_again, self._seconds_to_deadline(), self._refresh_at - now]
        moments += [runs.retry_at - now for runs in self.runs.values() if runs.trouble is not None]
        return max(0.01, min(moment for moment in moments if moment is not None))

    def _report(self, type_: EventType, reason: str, message: str) -> None:
        self._context.report(self.pod, type_, reason, message)
