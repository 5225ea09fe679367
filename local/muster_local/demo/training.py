"""An AIJob trains for real on process nodes, loses a rank, and goes on from its checkpoint while another job waits."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

import psutil
import yaml

from muster_api.names import GPU_RESOURCE
from muster_local.demo.stage import Stage
from muster_local.errors import LocalError

PROCESS_NODES = 2
GPUS_PER_NODE = 2
RANKS = PROCESS_NODES * GPUS_PER_NODE
_JOB = "digits"
_WAITING = "pi"
_KILLED_RANK = 2
_KILLED_AFTER_EPOCH = 2
_TOLD = ("joined", "resumed", "epoch", "checkpoint_failed", "failed", "refused", "terminated", "finished")
_TOLD_CHARACTERS = 60
_UNTOLD = frozenset({"time", "level", "event", "job", "namespace", "attempt", "rank", "world_size", "path", "offset"})

Event = dict[str, Any]


class TrainingStory:
    """One story on process nodes, whose pods are processes of this machine."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def run(self) -> None:
        self._stage.title(f"4. A gang of {RANKS} trains for real, and loses a rank")
        self._train_until_killed()
        self._let_another_wait()
        self._train_to_the_end()

    def _train_until_killed(self) -> None:
        self._stage.say("An AIJob: PyTorch's DistributedDataParallel on handwritten digits, one process for each rank.")
        self._stage.client.apply(_compute_cluster())
        self._stage.client.apply(_training())
        self._wait_attempt(1)
        self._stage.kubectl("get", "pods", "-l", f"aiplatform.example.com/job={_JOB}", "-o", "wide")
        killed = False
        for event in self._progress(1):
            if not killed and event["event"] == "epoch" and event["epoch"] >= _KILLED_AFTER_EPOCH:
                self._kill_rank(1, _KILLED_RANK)
                killed = True
        if not killed:
            raise LocalError(f"{_JOB} ended before a rank could be killed")
        self._wait(_JOB, lambda status: bool(status.get("attempts")), "its first attempt is over")
        self._stage.say("One rank is lost, so none goes on alone: the gang is retried whole.")
        self._stage.kubectl("get", "aijobs", "-o", "wide")

    def _let_another_wait(self) -> None:
        self._wait_attempt(2)
        self._stage.say("It has all GPUs of these nodes again. A second AIJob waits, and says for what:")
        self._stage.client.apply(_simulation())
        self._wait(_WAITING, lambda status: GPU_RESOURCE in status.get("message", ""), "it says why it waits")
        self._stage.kubectl("get", "aijobs", "-o", "wide")

    def _train_to_the_end(self) -> None:
        said = {event["event"]: event for event in self._progress(2)}
        self._wait(_JOB, lambda status: status.get("phase") == "Succeeded", "it has succeeded")
        if "resumed" not in said or "finished" not in said:
            raise LocalError(f"{_JOB} began anew instead of going on from its checkpoint")
        step, accuracy = said["resumed"]["step"], said["finished"]["accuracy"]
        self._stage.say(f"It went on after step {step} and reads {accuracy:.1%} of digits that it has never seen.")
        self._stage.say("The second AIJob has had its turn:")
        self._wait(_WAITING, lambda status: status.get("phase") == "Succeeded", "it has succeeded")
        self._stage.kubectl("get", "aijobs")

    def _progress(self, attempt: int) -> Iterator[Event]:
        """What rank 0 logs, told in short, until its process ends."""
        for line in self._stage.follow(f"{_JOB}-{attempt}-0"):
            event = _event(line)
            if event is not None:
                if event["event"] in _TOLD:
                    self._stage.say(_in_short(event))
                yield event

    def _kill_rank(self, attempt: int, rank: int) -> None:
        lines = self._stage.read_log(f"{_JOB}-{attempt}-{rank}")
        started = next((event for event in map(_event, lines) if event and event["event"] == "started"), None)
        if started is None:
            raise LocalError(f"rank {rank} of {_JOB} has not said which process it is")
        process = int(started["process"])
        if "muster-worker" not in " ".join(psutil.Process(process).cmdline()):
            raise LocalError(f"process {process} is not rank {rank} of {_JOB}")
        self._stage.type(f"kill -9 {process}   # rank {rank}")
        os.kill(process, signal.SIGKILL)

    def _wait_attempt(self, attempt: int) -> None:
        wanted = {"phase": "Running", "attempt": attempt, "ready": f"{RANKS}/{RANKS}"}
        self._wait(_JOB, lambda status: wanted.items() <= status.items(), f"attempt {attempt} runs")

    def _wait(self, job: str, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
        self._stage.wait(lambda: condition(self._stage.status("aijobs", job) or {}), f"AIJob {job}: {what}")


def _event(line: str) -> Event | None:
    """What torch itself writes to the log is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _in_short(event: Event) -> str:
    told = {name: shorten(str(value), _TOLD_CHARACTERS) for name, value in event.items() if name not in _UNTOLD}
    fields = [f"{name}={value}" for name, value in told.items()]
    return f"  {event['event']:9} {' '.join(fields)}"


def _compute_cluster() -> dict[str, Any]:
    return _document("""
        apiVersion: aiplatform.example.com/v1alpha1
        kind: ComputeCluster
        metadata: {name: processes}
        spec: {nodeSelector: {muster.local/kind: process}}
        """)


def _training() -> dict[str, Any]:
    return _document(f"""
        apiVersion: aiplatform.example.com/v1alpha1
        kind: AIJob
        metadata: {{name: {_JOB}, namespace: demo}}
        spec:
          jobType: training
          image: muster-worker
          cluster: processes
          config: {{epochs: 7, checkpoint_interval: 5, step_delay_ms: 50}}
          resources: {{requests: {{cpu: 250m, memory: 512Mi, {GPU_RESOURCE}: "1"}}}}
          gang: {{enabled: true, minMembers: {RANKS}}}
          retryPolicy: {{maxRetries: 2, backoffSeconds: 2}}
        """)


def _simulation() -> dict[str, Any]:
    return _document(f"""
        apiVersion: aiplatform.example.com/v1alpha1
        kind: AIJob
        metadata: {{name: {_WAITING}, namespace: demo}}
        spec:
          jobType: simulation
          image: muster-worker
          cluster: processes
          resources: {{requests: {{cpu: 250m, memory: 512Mi, {GPU_RESOURCE}: "1"}}}}
          gang: {{enabled: true, minMembers: 2}}
        """)


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text)
    return document
