"""The judge convicts on a real API server, and goes on watching when that server was away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bones.control_plane import Faults
from bones.judging import JudgeProcess
from bones.stage import Stage
from muster_local.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def _give_gpus_twice(stage: Stage, namespace: str) -> None:
    """Two pods that name their node themselves, outside the managed namespaces where nobody hinders it."""
    node = stage.add_nodes(1, gpus=4)[0]
    for number in range(2):
        stage.kube.create(stage.pod(f"greedy-{number}", namespace=namespace, gpus=3, nodeName=node))


def _rules(folder: Path) -> set[str]:
    report = json.loads((folder / "history.report.json").read_text())
    return {violation["rule"] for violation in report["violations"]}


def test_it_convicts_on_a_real_cluster(cluster: Cluster, stage: Stage, tmp_path: Path) -> None:
    free = stage.open_namespace(f"{stage.namespace}-free", managed=False)
    judge = JudgeProcess(cluster.kubeconfig(), tmp_path).start()
    _give_gpus_twice(stage, free)
    with pytest.raises(AssertionError, match="gpu-twice"):
        judge.verdict()
    assert _rules(tmp_path) == {"gpu-twice"}


def test_it_goes_on_when_the_api_server_was_away(cluster: Cluster, stage: Stage, tmp_path: Path) -> None:
    """Resumed from the last version: what comes after the restart is judged, and no event is lost."""
    free = stage.open_namespace(f"{stage.namespace}-free", managed=False)
    faults = Faults(cluster, tmp_path / "failpoints.log")
    judge = JudgeProcess(cluster.kubeconfig(), tmp_path).start()
    faults.kill("kube-apiserver")
    faults.heal()
    _give_gpus_twice(stage, free)
    with pytest.raises(AssertionError, match="gpu-twice"):
        judge.verdict()
    report = json.loads((tmp_path / "history.report.json").read_text())
    assert report["inconclusive"] == []
    assert _rules(tmp_path) == {"gpu-twice"}
