"""A PoolService in memory: a fake for the HTTP layer only, of a pool in which nothing ever waits."""

from __future__ import annotations

from muster_queue.rest.pool_service import (
    AcknowledgeAnswer,
    AcknowledgedAnswer,
    AcknowledgeRequest,
    AttemptAnswer,
    BeatRequest,
    HeartbeatAnswer,
    LeaseAnswer,
    LeaseRequest,
    PoolName,
    Verdict,
    WorkerIdentity,
)


class MemoryPools:
    """Implements muster_queue.rest.pool_service.PoolService."""

    def send_away(self) -> None:
        """Nobody is kept waiting."""

    async def lease(self, pool: PoolName, worker: WorkerIdentity, wanted: LeaseRequest) -> list[LeaseAnswer]:
        return []

    async def heartbeat(
        self, pool: PoolName, worker: WorkerIdentity, beats: tuple[BeatRequest, ...]
    ) -> HeartbeatAnswer:
        lost = [AttemptAnswer(job_id=beat.job_id, attempt=beat.attempt) for beat in beats]
        return HeartbeatAnswer(lease_seconds=30.0, lost=lost)

    async def acknowledge(
        self, pool: PoolName, worker: WorkerIdentity, request: AcknowledgeRequest
    ) -> AcknowledgeAnswer:
        told = [
            AcknowledgedAnswer(job_id=each.job_id, attempt=each.attempt, verdict=Verdict.STALE)
            for each in (*request.successes, *request.failures)
        ]
        return AcknowledgeAnswer(attempts=told)
