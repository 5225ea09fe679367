"""AIJobs on a stage of their own: a ComputeCluster sends them to this test's nodes and to no others."""

from __future__ import annotations

from typing import Any

from bones.control_plane import Kubectl
from bones.kube import Item, Items, Kube
from bones.names import EXIT_CODE, GPU, RUN_SECONDS, TERMINATION_MESSAGE, TEST_LABEL, P
from bones.stage import Stage, phase_of

GROUP = f"{P}v1alpha1"


class JobStage:
    """What users do with AIJobs, and what becomes of these."""

    def __init__(self, stage: Stage, *, nodes: dict[str, str] | None = None, **capacity: int) -> None:
        self.stage = stage
        self.kube: Kube = stage.kube
        self.kubectl: Kubectl = stage.kubectl
        self.namespace = self.cluster = stage.namespace
        spec: dict[str, Any] = {"nodeSelector": nodes or {TEST_LABEL: self.namespace}}
        if capacity:
            spec["capacity"] = capacity
        self._clusters: list[str] = []
        self._add_cluster(self.cluster, spec)

    def add_cluster(self, kind: str, nodes: dict[str, str]) -> str:
        """Another cluster beside the first: jobs name it in `cluster`."""
        name = f"{self.cluster}-{kind}"
        self._add_cluster(name, {"nodeSelector": nodes})
        return name

    def strike(self) -> None:
        for name in self._clusters:
            self.kube.delete("computeclusters", name)

    def queue(self, name: str, **spec: Any) -> None:
        self.kube.create(self._manifest("AIJobQueue", name, spec))

    def manifest(
        self,
        name: str,
        members: int | None = None,
        *,
        gpus: int = 1,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Item:
        """A training job of `members` that start together; None: of a single pod."""
        gang = {"enabled": members is not None} | ({"minMembers": members} if members is not None else {})
        body = {
            "jobType": "training",
            "image": "muster-worker",
            "cluster": self.cluster,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi", **({GPU: str(gpus)} if gpus else {})}},
            "gang": gang,
            "retryPolicy": {"maxRetries": 2, "backoffSeconds": 1},
        }
        manifest = self._manifest("AIJob", name, body | spec)
        manifest["metadata"]["annotations"] = annotations or {}
        return manifest

    def create(self, name: str, members: int | None = None, **changes: Any) -> Item:
        return self.kube.create(self.manifest(name, members, **changes))

    def job(self, name: str) -> Item:
        return self.kube.get("aijobs", name, self.namespace)

    def pods(self, name: str) -> Items:
        return self.kube.items("pods", self.namespace, f"{P}job={name}")

    def gang(self, name: str) -> Item:
        return self.kube.get("gangs", f"aijob-{name}", self.namespace)

    def change(self, name: str, **spec: Any) -> None:
        self.kube.patch("aijobs", name, {"spec": spec}, self.namespace)

    def annotate(self, name: str, key: str, value: str) -> None:
        self.kube.patch("aijobs", name, {"metadata": {"annotations": {f"{P}{key}": value}}}, self.namespace)

    def end(self, pod: str, exit_code: int = 0, message: str = "") -> None:
        """The simulated process of a pod ends now."""
        annotations = {EXIT_CODE: str(exit_code), TERMINATION_MESSAGE: message, RUN_SECONDS: "0"}
        self.kube.patch("pods", pod, {"metadata": {"annotations": annotations}}, self.namespace)

    def wait(self, name: str, condition: Any, *, timeout: float = 60, what: str = "") -> Item:
        """Until the job satisfies the condition."""
        jobs = self.kube.wait_for(
            "aijobs",
            lambda items: name in items and condition(items[name]),
            namespace=self.namespace,
            timeout=timeout,
            what=what or f"job {name}",
        )
        return jobs[name]

    def wait_phase(self, name: str, *phases: str, timeout: float = 60) -> Item:
        return self.wait(
            name, lambda job: phase_of(job) in phases, timeout=timeout, what=f"{name} {' or '.join(phases)}"
        )

    def wait_attempt(self, name: str, attempt: int, *, timeout: float = 60) -> Item:
        """Until this attempt runs."""
        return self.wait(
            name,
            lambda job: phase_of(job) == "Running" and status_of(job).get("attempt") == attempt,
            timeout=timeout,
            what=f"attempt {attempt} of {name}",
        )

    def wait_reason(self, name: str, reason: str, *, timeout: float = 60) -> Item:
        return self.wait(
            name, lambda job: status_of(job).get("reason") == reason, timeout=timeout, what=f"{name} {reason}"
        )

    def wait_gang(self, name: str, condition: Any, *, timeout: float = 60, what: str = "") -> Item:
        """Until the job's Gang satisfies the condition."""
        key = f"aijob-{name}"
        gangs = self.kube.wait_for(
            "gangs",
            lambda items: key in items and condition(items[key]),
            namespace=self.namespace,
            timeout=timeout,
            what=what or f"the gang of {name}",
        )
        return gangs[key]

    def wait_counts(self, queue: str, *, running: int, pending: int, gpus: int, timeout: float = 30) -> None:
        """Until queue and cluster say so of their jobs; all jobs of the cluster have to be of that queue."""
        told = {"pending": pending, "running": running}
        self.kube.wait_for(
            "aijobqueues",
            lambda queues: told.items() <= status_of(queues[queue]).items(),
            namespace=self.namespace,
            timeout=timeout,
            what=f"queue {queue} with {told}",
        )
        held = {"jobs": running, "gpus": gpus}
        self.kube.wait_for(
            "computeclusters",
            lambda clusters: held.items() <= status_of(clusters[self.cluster]).items(),
            timeout=timeout,
            what=f"cluster {self.cluster} with {held}",
        )

    def wait_gone(self, name: str, *, timeout: float = 60) -> None:
        """Until nothing of the job is left: neither itself nor pods, Gang and Service."""
        for resource, left in (("aijobs", name), ("gangs", f"aijob-{name}"), ("services", name)):
            self.wait_without(resource, left, timeout=timeout)
        self.kube.wait_for(
            "pods",
            lambda pods: not pods,
            namespace=self.namespace,
            selector=f"{P}job={name}",
            timeout=timeout,
            what=f"no pods of {name}",
        )

    def wait_without(self, resource: str, name: str, *, timeout: float = 60) -> None:
        """Until there is no object of this name."""
        self.kube.wait_for(
            resource,
            lambda items: name not in items,
            namespace=self.namespace,
            timeout=timeout,
            what=f"no {resource} {name}",
        )

    def _add_cluster(self, name: str, spec: dict[str, Any]) -> None:
        self.kube.create(self._manifest("ComputeCluster", name, spec, namespace=None))
        self._clusters.append(name)

    def _manifest(self, kind: str, name: str, spec: dict[str, Any], *, namespace: str | None = "") -> Item:
        metadata = {"name": name} if namespace is None else {"name": name, "namespace": self.namespace}
        return {"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec}


def status_of(job: Item) -> Item:
    found: Item = job.get("status") or {}
    return found


def environment_of(pod: Item) -> dict[str, str]:
    """What its process finds in its environment."""
    return {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}
