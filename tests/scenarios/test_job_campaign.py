"""Jobs under random deletions, failures and kills of the controller: at rest everything is right; the soak has more."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bones.control_plane import Faults
from bones.job_campaign import Campaign
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

JOBS = 12
SEED = "jobs 1"


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage)
    yield made
    stage.clear()
    made.strike()


def test_nothing_is_left_over_when_the_dust_has_settled(jobs: JobStage, faults: Faults) -> None:
    jobs.stage.add_nodes(12, gpus=8)
    campaign = Campaign(jobs, faults, random.Random(SEED))
    campaign.create_all(JOBS)
    campaign.hurt(times=16, kills=2)
    campaign.wait_rest(timeout=180)
