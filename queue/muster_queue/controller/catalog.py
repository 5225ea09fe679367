"""What jobs refer to: their queues and clusters, and the templates of their pods, made once and kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from muster_api.jobs import AIJob, AIJobQueue, AIJobQueueSpec, ComputeCluster, ComputeClusterSpec
from muster_api.names import DEFAULT_QUEUE
from muster_api.reasons import Reason
from muster_queue.jobs.templates import JobTemplate, template_of
from muster_queue.jobs.views import Hindrance

Key = tuple[str, str]


@dataclass(slots=True)
class Catalog:
    """Mutable; only the world writes it."""

    gpu_resources: tuple[str, ...]
    queues: dict[Key, AIJobQueue] = field(default_factory=dict)
    clusters: dict[str, ComputeCluster] = field(default_factory=dict)
    _templates: dict[Key, tuple[tuple[AIJob, AIJobQueue | None, ComputeCluster | None], JobTemplate]] = field(
        default_factory=dict
    )

    def queue_of(self, job: AIJob) -> AIJobQueue | None:
        return self.queues.get((job.metadata.namespace, job.spec.queue))

    def cluster_of(self, job: AIJob) -> ComputeCluster | None:
        return self.clusters.get(job.spec.cluster) if job.spec.cluster else None

    def template(self, job: AIJob) -> JobTemplate:
        """Made anew only when the job's spec, its queue or its cluster has changed; raises QuantityError."""
        key = (job.metadata.namespace, job.metadata.name)
        queue, cluster = self.queue_of(job), self.cluster_of(job)
        known = self._templates.get(key)
        if known is not None:
            (old, old_queue, old_cluster), template = known
            same_job = old is job or (old.metadata.uid == job.metadata.uid and _deciding(old) == _deciding(job))
            if same_job and _spec(old_queue) == _spec(queue) and _spec(old_cluster) == _spec(cluster):
                return template
        template = template_of(job, queue, cluster, self.gpu_resources)
        self._templates[key] = ((job, queue, cluster), template)
        return template

    def forget(self, job: AIJob) -> None:
        self._templates.pop((job.metadata.namespace, job.metadata.name), None)

    def hindrance(self, job: AIJob) -> Hindrance | None:
        """What the job refers to and is not there."""
        spec = job.spec
        if spec.queue != DEFAULT_QUEUE and self.queue_of(job) is None:
            text = f"spec.queue: there is no AIJobQueue {spec.queue} in this namespace"
            return Hindrance(Reason.QUEUE_NOT_FOUND, text)
        if spec.cluster and self.cluster_of(job) is None:
            return Hindrance(Reason.CLUSTER_NOT_FOUND, f"spec.cluster: there is no ComputeCluster {spec.cluster}")
        return None


def _deciding(job: AIJob) -> tuple[int, dict[str, str]]:
    return job.metadata.generation, job.metadata.annotations


def _spec(setting: AIJobQueue | ComputeCluster | None) -> AIJobQueueSpec | ComputeClusterSpec | None:
    """All of it that decides: counts in a status change with every job."""
    return None if setting is None else setting.spec
