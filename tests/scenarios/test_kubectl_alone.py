"""kubectl alone is enough: it shows what waits and why, and frees it."""

from __future__ import annotations

import pytest

from bones.control_plane import Kubectl
from bones.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("judge")]


def _fill_in_part(stage: Stage) -> None:
    """One node of four GPUs, two of them taken."""
    stage.add_nodes(1, gpus=4)
    stage.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")


def test_get_gangs_shows_phase_numbers_and_reason(stage: Stage, kubectl: Kubectl) -> None:
    _fill_in_part(stage)
    stage.create_gang("waits", 3)
    stage.wait_reason("waits", "InsufficientResources")
    stage.create(*stage.gang_pods("incomplete", 3, count=2))
    stage.wait_reason("incomplete", "WaitingForMembers")
    lines = kubectl("get", "gangs", "-n", stage.namespace).splitlines()
    assert lines[0].split()[:5] == ["NAME", "PHASE", "BOUND", "PRESENT", "MIN"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert "InsufficientResources" in rows["pods-waits"]
    assert "WaitingForMembers" in rows["pods-incomplete"]
    assert kubectl("get", "gg", "-n", stage.namespace).splitlines()[0].startswith("NAME")
    assert "pods-waits" in kubectl("get", "ai", "-n", stage.namespace)


def test_describe_tells_why_something_waits(stage: Stage, kubectl: Kubectl) -> None:
    stage.add_nodes(1, gpus=2)
    stage.create(*stage.gang_pods("incomplete", 3, count=2))
    stage.wait_reason("incomplete", "WaitingForMembers")
    told = kubectl("describe", "gang", "pods-incomplete", "-n", stage.namespace)
    assert "2 of 3" in told
    assert "WaitingForMembers" in told


def test_describe_of_a_single_pod_tells_why_it_waits(stage: Stage, kubectl: Kubectl) -> None:
    """A gang of one has no Gang object: its event is where a person looks."""
    _fill_in_part(stage)
    stage.create(stage.pod("large", gpus=3))
    stage.kube.wait_event("large", "InsufficientResources", namespace=stage.namespace)
    assert "InsufficientResources" in kubectl("describe", "pod", "large", "-n", stage.namespace)


def test_delete_frees_the_room_of_a_running_gang(stage: Stage, kubectl: Kubectl) -> None:
    stage.add_nodes(1, gpus=3)
    stage.create_gang("first", 3)
    stage.wait_bound("first", 3)
    stage.create_gang("second", 3)
    stage.wait_reason("second", "InsufficientResources")
    kubectl("delete", "pods", "first-0", "first-1", "first-2", "-n", stage.namespace)
    stage.wait_bound("second", 3)
    stage.kube.wait_for("gangs", lambda gangs: set(gangs) == {"pods-second"}, namespace=stage.namespace)


def test_delete_of_a_waiting_gang_leaves_nothing_behind(stage: Stage, kubectl: Kubectl) -> None:
    stage.add_nodes(1, gpus=3)
    stage.create_gang("waits", 4)
    stage.wait_reason("waits", "GangTooLarge")
    kubectl("delete", "pods", "--all", "-n", stage.namespace)
    stage.kube.wait_for("gangs", lambda gangs: not gangs, namespace=stage.namespace)
