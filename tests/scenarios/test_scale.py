"""A gang of a thousand on a thousand simulated nodes: all parked, one commit, all bound."""

from __future__ import annotations

import pytest

from bones.judging import JudgeProcess
from bones.stage import Stage
from bones.telling import tell

pytestmark = [pytest.mark.cluster, pytest.mark.scale, pytest.mark.timeout(600)]

SIZE = 1000


def test_a_thousand_members_park_and_commit_once(stage: Stage, judge: JudgeProcess) -> None:
    stage.add_nodes(SIZE, gpus=1)
    stage.kube.create_all(stage.gang_pods("thousand", SIZE), parallel=16)
    stage.wait_bound("thousand", SIZE, timeout=300)
    report = judge.verdict()["gangs"][f"{stage.namespace}/thousand"]
    tell(f"{report['opened']}, created to bound in {report['create_to_bound_seconds']} s")
    assert report["commits"] == 1
    assert report["bound"] == SIZE
    assert report["opened"] == f"{SIZE} of {SIZE} members at the barrier when it opened"
