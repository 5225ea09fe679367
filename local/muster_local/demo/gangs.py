"""Gangs of plain pods: they start whole, wait whole, and survive a kill in the middle of their release."""

from __future__ import annotations

import re
import time
import urllib.request
from typing import Any

import yaml

from muster_api.names import GANG_LABEL, GANG_SIZE_ANNOTATION, GPU_RESOURCE
from muster_local.demo.stage import NAMESPACE, Stage
from muster_local.errors import LocalError

NODES = 30
KILLED_GANG = 200
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_PARKED = re.compile(r"^muster_extender_parked(?:{[^}]*})? ([0-9.e+]+)$", re.MULTILINE)


class GangStories:
    """Three short stories on simulated nodes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def one_by_one(self) -> None:
        self._stage.title("1. A gang of three, created one by one")
        self._stage.say("Two of three are there: both are gated, and the gang says what it waits for.")
        self._create("trio", 3, range(2))
        self._stage.wait(lambda: "2 of 3" in self._message("trio"), "the gang says 2 of 3")
        self._stage.kubectl("get", "pods,gangs")
        self._stage.say("The third arrives: all three are bound together.")
        self._create("trio", 3, range(2, 3))
        self._wait_running("trio", 3)
        self._stage.kubectl("get", "pods", "-o", "wide")
        self._stage.kubectl("get", "gangs")
        self._delete("trio")

    def last_gpus(self) -> None:
        gpus = NODES * 8
        self._stage.title(f"2. Two gangs want the last of {gpus} GPUs")
        self._stage.say(
            f"Each asks for 20 x 8 GPUs. One runs whole, the other waits whole: never {gpus} split between them."
        )
        self._create("first", 20, range(20), gpus=8)
        self._create("second", 20, range(20), gpus=8)
        self._wait_running("first", 20)
        self._stage.wait(lambda: "GPU" in self._message("second").upper(), "the second gang says why it waits")
        self._stage.kubectl("get", "gangs", "-o", "wide")
        self._stage.say("The first one ends; the second one starts.")
        self._delete("first")
        self._wait_running("second", 20)
        self._stage.kubectl("get", "gangs")
        self._delete("second")

    def killed_extender(self) -> None:
        cluster = self._stage.cluster
        self._stage.title(f"3. The extender is killed in the middle of releasing a gang of {KILLED_GANG}")
        self._create("large", KILLED_GANG, range(KILLED_GANG))
        self._stage.wait(lambda: self._parked() >= KILLED_GANG // 4, "members are parked at the barrier")
        parked = self._parked()
        cluster.kill("extender")
        bound = self._bound("large")
        self._stage.say(f"SIGKILL with {parked} of {KILLED_GANG} parked: {bound} bound. It is started again ...")
        started = time.monotonic()
        cluster.start("extender")
        self._wait_running("large", KILLED_GANG)
        self._stage.say(f"... and {time.monotonic() - started:.1f} s later all {KILLED_GANG} are bound.")
        self._stage.kubectl("get", "gangs")

    # -- deeds

    def _create(self, gang: str, size: int, members: range, *, gpus: int = 1) -> None:
        client = self._stage.client
        client.for_each(lambda pod: client.create(_PODS, pod), [_pod(gang, size, member, gpus) for member in members])

    def _delete(self, gang: str) -> None:
        selector = f"{GANG_LABEL}={gang}"
        self._stage.client.delete(f"{_PODS}?labelSelector={selector.replace('/', '%2F')}")
        self._stage.wait(lambda: self._status(gang) is None, f"the gang {gang} is gone")

    # -- questions

    def _status(self, gang: str) -> dict[str, Any] | None:
        return self._stage.status("gangs", f"pods-{gang}")

    def _message(self, gang: str) -> str:
        return str((self._status(gang) or {}).get("message", ""))

    def _bound(self, gang: str) -> int:
        pods = self._stage.client.get(_PODS)["items"]
        members = [pod for pod in pods if pod["metadata"].get("labels", {}).get(GANG_LABEL) == gang]
        return sum(1 for pod in members if pod["spec"].get("nodeName"))

    def _parked(self) -> int:
        with urllib.request.urlopen(f"{self._stage.cluster.url('extender')}/metrics", timeout=5) as answer:
            found = _PARKED.findall(answer.read().decode())
        return int(sum(map(float, found)))

    def _wait_running(self, gang: str, members: int) -> None:
        self._stage.wait(lambda: (self._status(gang) or {}).get("phase") == "Running", f"the gang {gang} runs")
        if (bound := self._bound(gang)) != members:
            raise LocalError(f"{bound} of {members} members of {gang} are bound")


def _pod(gang: str, size: int, member: int, gpus: int) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(f"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {gang}-{member}
          labels: {{{GANG_LABEL}: {gang}}}
          annotations: {{{GANG_SIZE_ANNOTATION}: "{size}"}}
        spec:
          nodeSelector: {{type: kwok}}
          containers:
          - name: main
            image: registry.example/simulated
            resources: {{limits: {{{GPU_RESOURCE}: "{gpus}"}}}}
        """)
    return document
