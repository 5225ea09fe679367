"""Many AIJobs of mixed sizes while users change their minds, pods fail and the controller is killed; then rest."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bones.control_plane import Faults, wait_until
from bones.job_stage import JobStage, status_of
from bones.kube import Item, Items, KubeError, NotFoundError, WaitTimeoutError
from bones.names import RUN_SECONDS, P
from bones.stage import phase_of

SIZES = (1, 1, 2, 4, 8)
MOST_RETRIES = 3
ALWAYS = 1000
"""Attempts that fail: what costs no retry may add any number."""
JOB = f"{P}job"
BUSY = frozenset({429, 500, 503, 504})
BUSY_SECONDS = 60
NAME_IN_USE = 77
"""Exit code of a process that finds another one running under its name; it leaves a file that says so."""
RUN = 'sleep "$LASTS"; test "$MUSTER_ATTEMPT" -gt "$FAILS"'
LOCKED = f"""
flock -n -E {NAME_IN_USE} "$NAMES/$HOSTNAME" sh -c "$RUN"
code=$?
test $code = {NAME_IN_USE} && touch "$NAMES/$HOSTNAME.twice"
exit $code
"""


@dataclass(frozen=True)
class Ground:
    """A ComputeCluster that jobs are sent to; where it has process nodes, members lock their names in a folder."""

    cluster: str
    names: Path | None = None
    is_simulated: bool = True
    """Whether it has simulated nodes, on which no process can fail."""


@dataclass(frozen=True)
class Order:
    """One job as it was ordered."""

    size: int
    gpus: int
    ground: Ground
    lasts: int | None
    """Seconds; None for ever."""
    fails: int
    """Attempts in which each process ends with 1."""

    def spec(self) -> dict[str, Any]:
        """What the job's manifest says of it."""
        made: dict[str, Any] = {"gpus": self.gpus, "cluster": self.ground.cluster}
        made["retryPolicy"] = {"maxRetries": MOST_RETRIES, "backoffSeconds": 1}
        made["annotations"] = {RUN_SECONDS: str(self.lasts)} if self.lasts is not None else {}
        if self.ground.names is None:
            return made
        variables = {"NAMES": str(self.ground.names), "LASTS": str(self.lasts), "FAILS": str(self.fails), "RUN": RUN}
        env = [{"name": name, "value": value} for name, value in variables.items()]
        return made | {"image": "muster-host", "command": ["sh", "-c", LOCKED], "env": env}

    @property
    def phases(self) -> frozenset[str]:
        """Where it may stand at rest, if nobody cancels it."""
        if self.fails == ALWAYS:
            return frozenset({"DeadLetter"})
        return frozenset({"DeadLetter", "Running" if self.lasts is None else "Succeeded"})


@dataclass
class Campaign:
    """What has been done to which job, from one seed."""

    jobs: JobStage
    faults: Faults
    chance: random.Random
    grounds: Sequence[Ground] = ()
    """None: the stage's own nodes, all of them simulated."""
    made: dict[str, Order] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    replaced: int = 0

    def create_all(self, count: int) -> None:
        for number in range(count):
            name = f"job-{number}"
            self.made[name] = self._order()
            self._create(name)

    def hurt(self, times: int, kills: int, agents: Sequence[str] = ()) -> None:
        """So many strokes of fate, some of which kill the controller or one of these agents of process nodes."""
        strokes: list[Callable[[], None]] = [partial(self._restart, "controller")] * kills
        strokes += [partial(self._restart, name) for name in agents]
        ways = (self._delete_job, self._replace_job, self._delete_pod, self._delete_pod, self._fail_pod, self._cancel)
        strokes += self.chance.choices(ways, k=times)
        self.chance.shuffle(strokes)
        for stroke in strokes:
            with contextlib.suppress(NotFoundError):
                stroke()

    def wait_rest(self, timeout: float) -> None:
        """Until nothing is under way any more; what stands there then is right, or this fails."""
        found: list[str] = []

        def is_at_rest() -> bool:
            found[:] = self._complaints()
            return not found

        try:
            wait_until(is_at_rest, timeout, "rest")
        except WaitTimeoutError as error:
            raise AssertionError(f"not at rest: {found[:20]}") from error

    def delete_all(self) -> None:
        """Every job that is left; `wait_rest` says when nothing of them is there any more."""
        for name in self.made.keys() - self.deleted:
            self.deleted.add(name)
            self.jobs.kube.delete("aijobs", name, self.jobs.namespace)

    def _order(self) -> Order:
        ground = self.chance.choice(self.grounds or (Ground(self.jobs.cluster),))
        # Process nodes have little room: whoever may come there leaves it again.
        ends = ground.names is not None or self.chance.random() < 0.5
        return Order(
            size=self.chance.choice(SIZES),
            gpus=self.chance.choice((0, 1)),
            ground=ground,
            lasts=self.chance.randint(1, 40) if ends else None,
            fails=self.chance.choice((0, 0, 1) if ground.is_simulated else (0, 0, 1, ALWAYS)),
        )

    def _create(self, name: str) -> None:
        order = self.made[name]
        _patiently(partial(self.jobs.create, name, order.size, **order.spec()))

    def _complaints(self) -> list[str]:
        kube, namespace = self.jobs.kube, self.jobs.namespace
        jobs, gangs = kube.items("aijobs", namespace), kube.items("gangs", namespace)
        pods, services = kube.items("pods", namespace), kube.items("services", namespace)
        found = [f"{name} was deleted and is there" for name in self.deleted & jobs.keys()]
        found += [f"{name} is lost" for name in self.made.keys() - self.deleted - jobs.keys()]
        found += [f"Gang {name} is left over" for name in gangs if name.removeprefix("aijob-") not in jobs]
        found += [f"Service {name} is left over" for name in services if name not in jobs]
        slices = kube.items("endpointslices", namespace)
        found += [f"EndpointSlice {name} is left over" for name in slices if name.rsplit("-", 2)[0] not in jobs]
        for name, job in jobs.items():
            own = [pod for pod in pods.values() if pod["metadata"]["labels"].get(JOB) == name]
            wrong = [*self._wrong_phase(name, job), *_wrong_with(job, gangs.get(f"aijob-{name}"), own, self.made[name])]
            found += [f"{name}: {text}" for text in wrong]
        owners = {pod["metadata"]["labels"].get(JOB) for pod in pods.values()}
        found += [f"pods of {name} are left over" for name in owners - jobs.keys()]
        for ground in self.grounds:
            twice = ground.names.glob("*.twice") if ground.names is not None else ()
            found += [f"two processes had the name {path.stem}" for path in twice]
        return [*found, *self._reserved(jobs)]

    def _wrong_phase(self, name: str, job: Item) -> list[str]:
        phase, status, right = phase_of(job), status_of(job), self.made[name].phases
        if name in self.cancelled:
            right = (right | {"Cancelled"}) - {"Running"}
        if phase not in right:
            return [f"is {phase} instead of {' or '.join(sorted(right))} ({status.get('message')})"]
        failures = sum(1 for record in status.get("attempts") or [] if record["failure"] == "exitCode")
        if phase == "DeadLetter" and failures <= MOST_RETRIES:
            return [f"is DeadLetter after {failures} failures"]
        return []

    def _reserved(self, jobs: Items) -> list[str]:
        """What the clusters say is taken has to be what runs."""
        running = [self.made[name] for name, job in jobs.items() if phase_of(job) == "Running" and name in self.made]
        found = []
        for name in dict.fromkeys(order.ground.cluster for order in self.made.values()):
            here = [order for order in running if order.ground.cluster == name]
            told = status_of(self.jobs.kube.get("computeclusters", name))
            counts = (told.get("jobs", 0), told.get("gpus", 0))
            if counts != (len(here), sum(order.size * order.gpus for order in here)):
                found.append(f"cluster {name} says {counts} jobs and GPUs, {len(here)} jobs run")
        return found

    def _delete_job(self) -> None:
        name = self._some_job()
        self.deleted.add(name)
        self.jobs.kube.delete("aijobs", name, self.jobs.namespace)

    def _replace_job(self) -> None:
        """Deleted and created anew at once: its pods have the names of those that are just going."""
        name = self._some_job()
        self.jobs.kube.delete("aijobs", name, self.jobs.namespace)
        self._create(name)
        self.cancelled.discard(name)
        self.replaced += 1

    def _cancel(self) -> None:
        name = self._some_job()
        _patiently(partial(self.jobs.annotate, name, "cancel", "true"))
        self.cancelled.add(name)

    def _delete_pod(self) -> None:
        pods = sorted(self.jobs.kube.items("pods", self.jobs.namespace))
        if pods:
            self.jobs.kube.delete("pods", self.chance.choice(pods), self.jobs.namespace)

    def _fail_pod(self) -> None:
        pods = sorted(self.jobs.kube.items("pods", self.jobs.namespace))
        if pods:
            self.jobs.end(self.chance.choice(pods), 1)

    def _restart(self, component: str) -> None:
        self.faults.kill(component)
        self.faults.start(component)

    def _some_job(self) -> str:
        left = sorted(self.made.keys() - self.deleted)
        if not left:
            raise NotFoundError(404, "no job is left")
        return self.chance.choice(left)


def _patiently(ask: Callable[[], object]) -> None:
    """Asks again where admission did not answer in time: on a busy machine that says nothing of what is tested."""

    def is_done() -> bool:
        try:
            ask()
        except KubeError as error:
            if error.status not in BUSY:
                raise
            return False
        return True

    wait_until(is_done, BUSY_SECONDS, "an answer of the API server")


def _wrong_with(job: Item, gang: Item | None, pods: list[Item], order: Order) -> list[str]:
    """What does not fit together in one job, its gang and its pods."""
    phase, live = phase_of(job), [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
    attempts = {pod["metadata"]["labels"][f"{P}attempt"] for pod in pods}
    found = [f"has pods of the attempts {sorted(attempts)}"] if len(attempts) > 1 else []
    if phase == "Running":
        is_whole = gang is not None and phase_of(gang) == "Running" and len(pods) == order.size
        return found if is_whole else [*found, f"runs with {len(pods)} of {order.size} pods"]
    if live:
        found.append(f"is {phase} with {len(live)} pods that live")
    if gang is not None and phase_of(gang) not in ("Succeeded", "Failed", "Pending"):
        found.append(f"is {phase} and its gang {phase_of(gang)}")
    return found
