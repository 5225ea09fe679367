"""A gang of a thousand on a thousand simulated nodes: all parked, one commit, all bound."""

from __future__ import annotations

import threading

import pytest

from bones.extender_metrics import parked
from bones.judging import JudgeProcess
from bones.stage import Stage
from bones.telling import tell
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.scale, pytest.mark.timeout(600)]

SIZE = 1000


def test_a_thousand_members_park_and_commit_once(stage: Stage, judge: JudgeProcess, cluster: Cluster) -> None:
    stage.add_nodes(SIZE, gpus=1)
    most = _MostParked(cluster)
    with most:
        stage.kube.create_all(stage.gang_pods("thousand", SIZE), parallel=16)
        stage.wait_bound("thousand", SIZE, timeout=300)
    report = judge.verdict()["gangs"][f"{stage.namespace}/thousand"]
    tell(f"{most.seen} parked, created to bound in {report['create_to_bound_seconds']} s")
    assert report["commits"] == 1
    assert report["bound"] == SIZE
    assert most.seen == SIZE


class _MostParked:
    """Asks the extender, over and over, how many binds it holds, and keeps the largest answer."""

    def __init__(self, cluster: Cluster) -> None:
        self.seen = 0
        self._cluster = cluster
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._done.wait(0.1):
            self.seen = max(self.seen, parked(self._cluster))
