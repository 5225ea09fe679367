"""What to do next with a pod's containers, from what is known of them; pure, with the time passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from muster_local.process_node.objects import Container, Pod
from muster_local.process_node.restarts import BackoffRule, counted_crashes, may_restart, restart_delay

INITIALIZING: Final = ("PodInitializing", "")
CREATING: Final = ("ContainerCreating", "")

Waiting = tuple[str, str]
"""Reason and message of a container that does not run."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run of a container ended."""

    code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    message: str = ""
    signal: int = 0

    @property
    def ran_seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The newest run of a container; it runs while there is no exit."""

    number: int
    crashes: int
    started_at: datetime | None = None
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class ContainerView:
    """What is known of one container: its newest run, how the one before ended, and what keeps it from starting."""

    attempt: Attempt | None = None
    previous: Exit | None = None
    trouble: Waiting | None = None
    is_started: bool = True
    is_ready: bool = True

    @property
    def is_running(self) -> bool:
        return self.attempt is not None and self.attempt.exit is None

    @property
    def exit(self) -> Exit | None:
        return self.attempt.exit if self.attempt is not None else None

    @property
    def crashes(self) -> int:
        return self.attempt.crashes if self.attempt is not None else 0


Views = Mapping[str, ContainerView]


@dataclass(slots=True)
class Decision:
    """What to start and stop now, why others wait, the pod's phase, and in how many seconds to look again."""

    start: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    phase: str = "Pending"
    is_initialized: bool = False
    look_again: float | None = None

    def within(self, seconds: float) -> None:
        """Asks to be looked at again no later than this."""
        self.look_again = seconds if self.look_again is None else min(self.look_again, seconds)


def decide(pod: Pod, views: Views, now: datetime, rule: BackoffRule) -> Decision:
    """The next step towards what the pod's spec wants."""
    decision = Decision()
    failed = _initialize(pod, views, now, rule, decision)
    if failed:
        decision.phase = "Failed"
        _stop_sidecars(pod, views, decision)
    elif decision.is_initialized:
        _run(pod, views, now, rule, decision)
    if not decision.is_initialized:
        decision.waiting |= {entry.name: INITIALIZING for entry in pod.spec.containers}
    for name, view in views.items():
        if view.trouble is not None and not view.is_running:
            decision.waiting[name] = view.trouble
    return decision


def _initialize(pod: Pod, views: Views, now: datetime, rule: BackoffRule, decision: Decision) -> bool:
    """One init container after the other; true when one has failed for good."""
    for position, container in enumerate(pod.spec.init_containers):
        view = views[container.name]
        if container.is_sidecar:
            if not view.is_running:
                _start_or_wait(container, view, now, rule, decision)
            is_passed = view.attempt is not None and view.is_started
        else:
            is_passed = view.exit is not None and view.exit.code == 0
        if is_passed:
            continue
        later = pod.spec.init_containers[position + 1 :]
        decision.waiting |= {entry.name: INITIALIZING for entry in later}
        return _wait_for(pod, container, view, now, rule, decision)
    decision.is_initialized = True
    return False


def _wait_for(
    pod: Pod, container: Container, view: ContainerView, now: datetime, rule: BackoffRule, decision: Decision
) -> bool:
    if container.is_sidecar or view.is_running:
        return False
    if view.exit is not None and pod.spec.restart_policy == "Never":
        return True
    _start_or_wait(container, view, now, rule, decision)
    return False


def _start_or_wait(
    container: Container, view: ContainerView, now: datetime, rule: BackoffRule, decision: Decision
) -> None:
    """Starts it, or says how long its back-off still takes."""
    if view.exit is None:
        decision.start.append(container.name)
        decision.waiting[container.name] = CREATING
        return
    delay = restart_delay(counted_crashes(view.crashes, view.exit.ran_seconds, rule), rule)
    remaining = delay - (now - view.exit.finished_at).total_seconds()
    if remaining <= 0:
        decision.start.append(container.name)
    else:
        text = f"back-off {delay:.0f}s restarting failed container={container.name}"
        decision.waiting[container.name] = ("CrashLoopBackOff", text)
        decision.within(remaining)


def _run(pod: Pod, views: Views, now: datetime, rule: BackoffRule, decision: Decision) -> None:
    policy = pod.spec.restart_policy
    finished: list[Exit] = []
    for container in pod.spec.containers:
        view = views[container.name]
        if view.exit is not None and not may_restart(policy, view.exit.code):
            finished.append(view.exit)
        elif not view.is_running:
            _start_or_wait(container, view, now, rule, decision)
    if len(finished) == len(pod.spec.containers):
        # Sidecars live as long as what they serve.
        decision.start = []
        _stop_sidecars(pod, views, decision)
        decision.phase = "Running"
        if not decision.stop:
            decision.phase = "Failed" if any(entry.code for entry in finished) else "Succeeded"
    elif all(views[container.name].attempt is not None for container in pod.spec.containers):
        decision.phase = "Running"


def _stop_sidecars(pod: Pod, views: Views, decision: Decision) -> None:
    sidecars = [entry.name for entry in pod.spec.init_containers if entry.is_sidecar]
    decision.stop += [name for name in sidecars if views[name].is_running]
    for name in sidecars:
        decision.waiting.pop(name, None)


def final_phase(pod: Pod, views: Views) -> str:
    """The phase of a pod that was told to end, once nothing of it runs."""
    exits = [views[container.name].exit for container in pod.spec.containers]
    return "Succeeded" if all(entry is not None and entry.code == 0 for entry in exits) else "Failed"
