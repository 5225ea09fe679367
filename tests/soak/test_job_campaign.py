"""A hundred AIJobs of mixed sizes under random deletions and kills of the controller: at rest nothing is left over.

Settings: MUSTER_SOAK_JOBS (100), MUSTER_SOAK_JOB_ROUNDS (3), MUSTER_SOAK_SEED.
"""

from __future__ import annotations

import os
import random

import pytest

from bones.control_plane import Faults
from bones.job_campaign import Campaign
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.stage import Stage
from bones.telling import tell

JOBS = int(os.environ.get("MUSTER_SOAK_JOBS", "100"))
ROUNDS = int(os.environ.get("MUSTER_SOAK_JOB_ROUNDS", "3"))
SEED = os.environ.get("MUSTER_SOAK_SEED", "muster")
REST_SECONDS = 600

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(REST_SECONDS + 600)]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_hundred_jobs_come_to_rest(stage: Stage, judge: JudgeProcess, faults: Faults, number: int) -> None:
    stage.add_nodes(50, gpus=8)
    jobs = JobStage(stage)
    campaign = Campaign(jobs, faults, random.Random(f"{SEED} {number}"))
    campaign.create_all(JOBS)
    campaign.hurt(times=JOBS, kills=8)
    campaign.wait_rest(timeout=REST_SECONDS)
    tell(f"round {number}: {JOBS} jobs, {len(campaign.deleted)} deleted, {len(campaign.cancelled)} cancelled, at rest")
    stage.clear()
    jobs.strike()
