"""What a job's processes find in their environment: who they are among how many, and where the first of them is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec

from muster_api.jobs import AIJob
from muster_api.names import TRACE_ANNOTATION
from muster_api.traces import TRACE_VARIABLE, read_traceparent

FIRST_PORT: Final = 20_000
PORTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a job in one epoch of its gang."""

    job: str
    gang_id: str
    epoch: str
    attempt: int
    size: int
    """Members that take part: of an elastic gang, as many as got a place."""

    def pod_name(self, ordinal: int | str) -> str:
        return f"{self.job}-{self.attempt}-{ordinal}"

    @property
    def master_port(self) -> int:
        """Differs between gangs and epochs, so that two on one machine hardly ever meet."""
        digest = hashlib.blake2b(f"{self.gang_id}/{self.epoch}".encode(), digest_size=4).digest()
        return FIRST_PORT + int.from_bytes(digest) % PORTS


def environment(job: AIJob, run: Run, rank: str) -> list[dict[str, str]]:
    """The user's variables first, then ours (JOB_VARIABLES), which nobody overrides: torch needs the right ones.

    The trace alone is the user's where both have one.
    """
    address, port, size = f"{run.pod_name(0)}.{run.job}", str(run.master_port), str(run.size)
    ours = {
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": size,
        "RANK": rank,
        "NODE_RANK": rank,
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "PET_NNODES": size,
        "PET_NODE_RANK": rank,
        "PET_MASTER_ADDR": address,
        "PET_MASTER_PORT": port,
        "PET_NPROC_PER_NODE": "1",
        "MUSTER_JOB": run.job,
        "MUSTER_NAMESPACE": job.metadata.namespace,
        "MUSTER_JOB_UID": job.metadata.uid,
        "MUSTER_ATTEMPT": str(run.attempt),
        "MUSTER_JOB_TYPE": job.spec.job_type.value,
        "MUSTER_CONFIG": _literal(msgspec.json.encode(job.spec.config).decode()),
    }
    theirs = {variable.name: variable.value for variable in job.spec.env if variable.name not in ours}
    trace = trace_of(job)
    traced = {TRACE_VARIABLE: trace} if trace else {}
    return [{"name": name, "value": value} for name, value in (traced | theirs | ours).items()]


def trace_of(job: AIJob) -> str | None:
    """The trace context of the job; users may write anything there, and only a valid one goes further."""
    return read_traceparent(job.metadata.annotations.get(TRACE_ANNOTATION))


def _literal(text: str) -> str:
    """Kubernetes replaces $(NAME) in a value; a doubled dollar stays what it is."""
    return text.replace("$(", "$$(")
