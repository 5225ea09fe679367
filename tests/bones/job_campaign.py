"""Many AIJobs of mixed sizes while users change their minds, pods fail and the controller is killed; then rest."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field

from bones.control_plane import Faults, wait_until
from bones.job_stage import JobStage, status_of
from bones.kube import Item, NotFoundError, WaitTimeoutError
from bones.names import RUN_SECONDS, P
from bones.stage import phase_of

SIZES = (1, 1, 2, 4, 8)
ENDED = frozenset({"Succeeded", "Failed", "DeadLetter", "Cancelled"})
AT_REST = ENDED | {"Running", "Held"}
JOB = f"{P}job"


@dataclass
class Campaign:
    """What has been done to which job, from one seed."""

    jobs: JobStage
    faults: Faults
    chance: random.Random
    made: dict[str, int] = field(default_factory=dict)
    """Size by name."""
    deleted: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    def create_all(self, count: int) -> None:
        for number in range(count):
            name, size = f"job-{number}", self.chance.choice(SIZES)
            annotations = {RUN_SECONDS: str(self.chance.randint(1, 20))} if self.chance.random() < 0.5 else {}
            self.made[name] = size
            self.jobs.create(
                name,
                size,
                annotations=annotations,
                gpus=self.chance.choice((0, 1)),
                retryPolicy={"maxRetries": 3, "backoffSeconds": 1},
            )

    def hurt(self, times: int, kills: int) -> None:
        """So many strokes of fate, some of which kill the controller."""
        strokes = [self._kill_controller] * kills
        strokes += self.chance.choices((self._delete_job, self._delete_pod, self._fail_pod, self._cancel), k=times)
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

    def _complaints(self) -> list[str]:
        kube, namespace = self.jobs.kube, self.jobs.namespace
        jobs, gangs = kube.items("aijobs", namespace), kube.items("gangs", namespace)
        pods, services = kube.items("pods", namespace), kube.items("services", namespace)
        found = [f"{name} was deleted and is there" for name in self.deleted & jobs.keys()]
        found += [f"{name} is lost" for name in self.made.keys() - self.deleted - jobs.keys()]
        found += [f"Gang {name} is left over" for name in gangs if name.removeprefix("aijob-") not in jobs]
        found += [f"Service {name} is left over" for name in services if name not in jobs]
        for name, job in jobs.items():
            own = [pod for pod in pods.values() if pod["metadata"]["labels"].get(JOB) == name]
            found += [f"{name}: {text}" for text in _wrong_with(job, gangs.get(f"aijob-{name}"), own, self.made[name])]
        owners = {pod["metadata"]["labels"].get(JOB) for pod in pods.values()}
        found += [f"pods of {name} are left over" for name in owners - jobs.keys()]
        found += [
            f"{name} was cancelled and is not" for name in self.cancelled - self.deleted if not _is_over(jobs, name)
        ]
        return found

    def _delete_job(self) -> None:
        name = self._some_job()
        self.deleted.add(name)
        self.jobs.kube.delete("aijobs", name, self.jobs.namespace)

    def _cancel(self) -> None:
        name = self._some_job()
        self.jobs.annotate(name, "cancel", "true")
        self.cancelled.add(name)

    def _delete_pod(self) -> None:
        pods = sorted(self.jobs.kube.items("pods", self.jobs.namespace))
        if pods:
            self.jobs.kube.delete("pods", self.chance.choice(pods), self.jobs.namespace)

    def _fail_pod(self) -> None:
        pods = sorted(self.jobs.kube.items("pods", self.jobs.namespace))
        if pods:
            self.jobs.end(self.chance.choice(pods), 1)

    def _kill_controller(self) -> None:
        self.faults.kill("controller")
        self.faults.start("controller")

    def _some_job(self) -> str:
        left = sorted(self.made.keys() - self.deleted)
        if not left:
            raise NotFoundError(404, "no job is left")
        return self.chance.choice(left)


def _wrong_with(job: Item, gang: Item | None, pods: list[Item], size: int) -> list[str]:
    """What does not fit together in one job, its gang and its pods."""
    phase, live = phase_of(job), [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
    if phase not in AT_REST:
        return [f"is {phase} ({status_of(job).get('message')})"]
    attempts = {pod["metadata"]["labels"][f"{P}attempt"] for pod in pods}
    found = [f"has pods of the attempts {sorted(attempts)}"] if len(attempts) > 1 else []
    if phase == "Running":
        is_whole = gang is not None and phase_of(gang) == "Running" and len(pods) == size
        return found if is_whole else [*found, f"runs with {len(pods)} of {size} pods"]
    if live:
        found.append(f"is {phase} with {len(live)} pods that live")
    if gang is not None and phase_of(gang) not in ("Succeeded", "Failed", "Pending"):
        found.append(f"is {phase} and its gang {phase_of(gang)}")
    return found


def _is_over(jobs: dict[str, Item], name: str) -> bool:
    return name in jobs and phase_of(jobs[name]) in ENDED
