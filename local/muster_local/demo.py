"""The main job on a real control plane, told with the cluster's own output; leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import yaml
from rich.console import Console

from muster_api.names import GANG_LABEL, GANG_SIZE_ANNOTATION, GPU_RESOURCE, MANAGED_LABEL
from muster_local.cluster import Cluster
from muster_local.errors import LocalError

NAMESPACE = "demo"
NODES = 30
KILLED_GANG = 200
_PATIENCE_SECONDS = 90.0
_POLL_SECONDS = 0.05
_PARKED = re.compile(r"^muster_extender_parked(?:{[^}]*})? ([0-9.e+]+)$", re.MULTILINE)


class Demo:
    """Three short stories; each shows what a user types and what the cluster answers."""

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self._cluster = cluster
        self._console = console

    def run(self) -> None:
        """Everything in order; raises LocalError as soon as the cluster does not do what the story says."""
        self._cluster.client.create("/api/v1/namespaces", _namespace())
        self._one_by_one()
        self._last_gpus()
        self._killed_extender()

    def _one_by_one(self) -> None:
        self._title("1. A gang of three, created one by one")
        self._say("Two of three are there: both are gated, and the gang says what it waits for.")
        self._create("trio", 3, range(2))
        self._wait(lambda: "2 of 3" in self._message("trio"), "the gang says 2 of 3")
        self._kubectl("get", "pods,gangs")
        self._say("The third arrives: all three are bound together.")
        self._create("trio", 3, range(2, 3))
        self._wait_running("trio", 3)
        self._kubectl("get", "pods", "-o", "wide")
        self._kubectl("get", "gangs")
        self._delete("trio")

    def _last_gpus(self) -> None:
        gpus = NODES * 8
        self._title(f"2. Two gangs want the last of {gpus} GPUs")
        self._say(f"Each asks for 20 x 8 GPUs. One runs whole, the other waits whole: never {gpus} split between them.")
        self._create("first", 20, range(20), gpus=8)
        self._create("second", 20, range(20), gpus=8)
        self._wait_running("first", 20)
        self._wait(lambda: "GPU" in self._message("second").upper(), "the second gang says why it waits")
        self._kubectl("get", "gangs", "-o", "wide")
        self._say("The first one ends; the second one starts.")
        self._delete("first")
        self._wait_running("second", 20)
        self._kubectl("get", "gangs")
        self._delete("second")

    def _killed_extender(self) -> None:
        self._title(f"3. The extender is killed in the middle of releasing a gang of {KILLED_GANG}")
        self._create("large", KILLED_GANG, range(KILLED_GANG))
        self._wait(lambda: self._parked() >= KILLED_GANG // 4, "members are parked at the barrier")
        parked = self._parked()
        self._cluster.kill("extender")
        bound = self._bound("large")
        self._say(f"SIGKILL with {parked} of {KILLED_GANG} parked: {bound} bound. It is started again ...")
        started = time.monotonic()
        self._cluster.start("extender")
        self._wait_running("large", KILLED_GANG)
        self._say(f"... and {time.monotonic() - started:.1f} s later all {KILLED_GANG} are bound.")
        self._kubectl("get", "gangs")

    # -- words

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _say(self, text: str) -> None:
        self._console.print(text)

    def _kubectl(self, *arguments: str) -> None:
        self._console.print(f"[cyan]$ kubectl {' '.join(arguments)}[/cyan]")
        command = [str(self._cluster.binary("kubectl")), "--kubeconfig", str(self._cluster.kubeconfig())]
        answer = subprocess.run(
            [*command, "--namespace", NAMESPACE, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        if answer.returncode:
            raise LocalError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}")
        self._console.print(answer.stdout.rstrip(), markup=False)

    # -- deeds

    def _create(self, gang: str, size: int, members: range, *, gpus: int = 1) -> None:
        client = self._cluster.client
        pods = [_pod(gang, size, member, gpus) for member in members]
        client.for_each(lambda pod: client.create(f"/api/v1/namespaces/{NAMESPACE}/pods", pod), pods)

    def _delete(self, gang: str) -> None:
        selector = f"{GANG_LABEL}={gang}"
        self._cluster.client.delete(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector.replace('/', '%2F')}")
        self._wait(lambda: self._gang(gang) is None, f"the gang {gang} is gone")

    # -- questions

    def _gang(self, gang: str) -> dict[str, Any] | None:
        path = f"/apis/aiplatform.example.com/v1alpha1/namespaces/{NAMESPACE}/gangs"
        gangs = self._cluster.client.get(path)["items"]
        return next((item for item in gangs if item["metadata"]["name"] == f"pods-{gang}"), None)

    def _status(self, gang: str) -> dict[str, Any]:
        found = self._gang(gang)
        status: dict[str, Any] = found.get("status", {}) if found else {}
        return status

    def _message(self, gang: str) -> str:
        return str(self._status(gang).get("message", ""))

    def _bound(self, gang: str) -> int:
        pods = self._cluster.client.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
        members = [pod for pod in pods if pod["metadata"].get("labels", {}).get(GANG_LABEL) == gang]
        return sum(1 for pod in members if pod["spec"].get("nodeName"))

    def _parked(self) -> int:
        with urllib.request.urlopen(f"{self._cluster.url('extender')}/metrics", timeout=5) as answer:
            found = _PARKED.findall(answer.read().decode())
        return int(sum(map(float, found)))

    def _wait_running(self, gang: str, members: int) -> None:
        self._wait(lambda: self._status(gang).get("phase") == "Running", f"the gang {gang} runs")
        if (bound := self._bound(gang)) != members:
            raise LocalError(f"{bound} of {members} members of {gang} are bound")

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise LocalError(f"waited {_PATIENCE_SECONDS:.0f} s in vain until {what}")
            time.sleep(_POLL_SECONDS)


def run_demo(cluster: Cluster, console: Console) -> None:
    """Starts a control plane, tells the stories and takes everything away again, also when one of them fails."""
    try:
        cluster.up(nodes=NODES)
        Demo(cluster, console).run()
    finally:
        cluster.down(purge=True)
    console.print(
        "\n[bold]Try it yourself[/bold]: everything is cleaned up; your own control plane is one command away."
    )
    console.print("  .venv/bin/muster local up --detach   then   .venv/bin/muster local shell", markup=False)
    console.print("  kubectl create namespace team && kubectl label namespace team " + f"{MANAGED_LABEL}=true")
    console.print("  docs/usage.md has the labels, annotations and reasons; make test runs all scenarios.")


def _namespace() -> dict[str, Any]:
    metadata = {"name": NAMESPACE, "labels": {MANAGED_LABEL: "true"}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _pod(gang: str, size: int, member: int, gpus: int) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(f"""
        apiVersion: v1
        kind: Pod
        metadata:
          name: {gang}-{member}
          labels: {{{GANG_LABEL}: {gang}}}
          annotations: {{{GANG_SIZE_ANNOTATION}: "{size}"}}
        spec:
          containers:
          - name: main
            image: registry.example/simulated
            resources: {{limits: {{{GPU_RESOURCE}: "{gpus}"}}}}
        """)
    return document
