"""Where the stories play: a namespace, words for the person who watches, and patience with a limit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from muster_api.names import MANAGED_LABEL
from muster_local.api_client import ApiClient
from muster_local.cluster import Cluster
from muster_local.errors import LocalError

NAMESPACE = "demo"
PATIENCE_SECONDS = 90.0
_COMMAND_SECONDS = 30
_FOLLOW_SECONDS = 180
_POLL_SECONDS = 0.05


class Stage:
    """Shows what a user types and what the cluster answers."""

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self.cluster = cluster
        self._console = console

    @property
    def client(self) -> ApiClient:
        return self.cluster.client

    def open(self) -> None:
        metadata = {"name": NAMESPACE, "labels": {MANAGED_LABEL: "true"}}
        self.client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def kubectl(self, *arguments: str) -> None:
        """Types it and shows the answer."""
        self.type("kubectl", *arguments)
        answer = subprocess.run(
            self._command(*arguments), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        if answer.returncode:
            raise LocalError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip()}")
        self.say(answer.stdout.rstrip())

    def follow(self, pod: str) -> Iterator[str]:
        """The lines of a pod's log as they come, until its process ends or the reader has enough.

        Raises LocalError when that takes too long.
        """
        self.type("kubectl", "logs", "-f", pod, "  # told in short")
        command = self._command("logs", "-f", f"--request-timeout={_FOLLOW_SECONDS}s", pod)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as reading:
            assert reading.stdout is not None
            try:
                yield from reading.stdout
                outcome = reading.wait(_COMMAND_SECONDS)
            finally:
                reading.kill()
        if outcome:
            raise LocalError(f"the log of {pod} could not be followed to its end")

    def read_log(self, pod: str) -> list[str]:
        """The lines that are there, without telling anybody."""
        answer = subprocess.run(
            self._command("logs", pod), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        return answer.stdout.splitlines()

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """Raises LocalError when it has not happened after a while."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise LocalError(f"waited {PATIENCE_SECONDS:.0f} s in vain until {what}")
            time.sleep(_POLL_SECONDS)

    def status(self, plural: str, name: str) -> dict[str, Any] | None:
        """Of a custom resource of ours; None if there is no such object."""
        found = self.client.get(f"/apis/aiplatform.example.com/v1alpha1/namespaces/{NAMESPACE}/{plural}")["items"]
        item = next((item for item in found if item["metadata"]["name"] == name), None)
        return None if item is None else dict(item.get("status", {}))

    def type(self, *words: str) -> None:
        """What a user would type for what happens next."""
        self._console.print(f"[cyan]$ {' '.join(words)}[/cyan]")

    def _command(self, *arguments: str) -> list[str]:
        kubeconfig = str(self.cluster.kubeconfig())
        return [str(self.cluster.binary("kubectl")), "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, *arguments]
