"""Gangs of plain pods: whole or not at all, in order, with a reason for whoever waits."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from bones.judging import JudgeProcess
from bones.names import GANG, PRIORITY, RELEASE, RUN_SECONDS
from bones.stage import Stage, bound, condition_of, is_gated, message_of, phase_of, reason_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("judge")]


@pytest.mark.parametrize("gpus", [1, None], ids=["members with a GPU each", "members without GPUs"])
def test_a_gang_that_fits_is_bound_and_scheduled(stage: Stage, gpus: int | None) -> None:
    stage.add_nodes(1, cpu=4, gpus=4)
    stage.create_gang("fits", 3, cpu=1, gpus=gpus)
    stage.wait_bound("fits", 3)
    gang = stage.wait_phase("fits", "Running")
    assert condition_of(gang, "Scheduled")["status"] == "True"
    assert gang["status"]["bound"] == gang["status"]["present"] == 3


def test_two_of_three_wait_for_the_third(stage: Stage) -> None:
    stage.add_nodes(1)
    first, second, third = stage.gang_pods("three", 3)
    stage.create(first)
    stage.wait_gang("three", lambda gang: "1 of 3" in message_of(gang))
    stage.create(second)
    gang = stage.wait_gang("three", lambda gang: "2 of 3" in message_of(gang))
    assert reason_of(gang) == "WaitingForMembers"
    assert condition_of(gang, "Scheduled")["reason"] == "WaitingForMembers"
    assert all(is_gated(pod) for pod in stage.pods().values())
    stage.stays_unbound("three", seconds=1.0)
    stage.create(third)
    stage.wait_bound("three", 3)


def test_a_blocked_gang_says_what_is_missing_and_runs_when_it_is_there(stage: Stage) -> None:
    stage.add_nodes(1, gpus=4)
    stage.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")
    stage.create_gang("waits", 3)
    gang = stage.wait_gang("waits", lambda gang: reason_of(gang) == "InsufficientResources", timeout=2.5)
    assert re.search(r"\d", message_of(gang)), "the message has no numbers"
    assert "nvidia.com/gpu" in message_of(gang)
    stage.stays_unbound("waits", seconds=1.0)
    stage.kubectl("delete", "pod", "blocker", "-n", stage.namespace)
    stage.wait_bound("waits", 3)


@pytest.mark.parametrize("reverse", [False, True], ids=["p1 o1 p2 o2 p3 o3", "o3 p3 o2 p2 o1 p1"])
def test_of_two_interleaved_gangs_one_runs_whole(stage: Stage, reverse: bool) -> None:
    stage.add_nodes(1, gpus=3)
    pods = list(chain.from_iterable(zip(stage.gang_pods("p", 3), stage.gang_pods("o", 3), strict=True)))
    stage.create(*(reversed(pods) if reverse else pods))
    stage.wait_pods(lambda pods: len(bound(pods)) == 3, what="one whole gang")
    winners = {pod["metadata"]["labels"][GANG] for pod in stage.pods().values() if "nodeName" in pod["spec"]}
    assert len(winners) == 1
    loser = ({"p", "o"} - winners).pop()
    stage.wait_reason(loser, "InsufficientResources")
    stage.stays_unbound(loser)


def test_the_higher_of_two_waiting_gangs_goes_first(stage: Stage) -> None:
    stage.add_nodes(1, gpus=3)
    stage.create(stage.pod("blocker", gpus=3))
    stage.wait_pod_bound("blocker")
    stage.create_gang("low", 3, annotations={PRIORITY: "10"})
    stage.wait_reason("low", "InsufficientResources")
    stage.create_gang("high", 3, annotations={PRIORITY: "90"})
    stage.wait_gang("high", lambda gang: gang["spec"]["priority"] == 90 and reason_of(gang) == "InsufficientResources")
    stage.kubectl("delete", "pod", "blocker", "-n", stage.namespace)
    stage.wait_bound("high", 3)
    stage.stays_unbound("low")


def test_an_incomplete_gang_blocks_nobody(stage: Stage) -> None:
    stage.add_nodes(1, gpus=3)
    stage.create(*stage.gang_pods("incomplete", 3, count=2))
    stage.wait_reason("incomplete", "WaitingForMembers")
    stage.create(*(stage.pod(f"single-{number}") for number in range(3)))
    pods = stage.wait_pods(lambda pods: len(bound(pods)) == 3, what="three singles bound")
    assert bound(pods) == {"single-0", "single-1", "single-2"}


def test_a_large_gang_waits_for_room_and_the_next_for_its_end(stage: Stage) -> None:
    stage.add_nodes(2, gpus=4)
    stage.create(*(stage.pod(f"single-{number}", gpus=2) for number in range(2)))
    stage.wait_pods(lambda pods: len(bound(pods)) == 2)
    stage.create_gang("first", 8)
    stage.wait_reason("first", "InsufficientResources")
    stage.stays_unbound("first", seconds=1.0)
    stage.kubectl("delete", "pod", "single-0", "single-1", "-n", stage.namespace)
    stage.wait_bound("first", 8)
    stage.create_gang("second", 8)
    stage.wait_reason("second", "InsufficientResources")
    stage.stays_unbound("second", seconds=1.0)
    stage.kubectl("delete", "pods", "-l", f"{GANG}=first", "-n", stage.namespace)
    stage.wait_bound("second", 8)


def test_completed_members_do_not_count_for_the_next_gang_of_the_label(stage: Stage) -> None:
    stage.add_nodes(1)
    stage.create_gang("again", 3, annotations={RUN_SECONDS: "1"}, restartPolicy="Never")
    first = stage.wait_phase("again", "Succeeded")
    stage.create(*stage.gang_pods("again", 3, count=2, first=3))
    gang = stage.wait_gang("again", lambda gang: "2 of 3" in message_of(gang))
    assert gang["metadata"]["uid"] != first["metadata"]["uid"]
    stage.kube.stays(
        "pods",
        lambda pods: not bound(pods) & {"again-3", "again-4"},
        namespace=stage.namespace,
        seconds=1.0,
        what="the two new members unbound",
    )
    stage.create(*stage.gang_pods("again", 3, count=1, first=5))
    stage.wait_bound("again", 6)


def test_a_sibling_under_a_foreign_gate_does_not_count(stage: Stage) -> None:
    stage.add_nodes(1)
    stage.create(*stage.gang_pods("held", 3, count=2))
    held = stage.gang_pods("held", 3, count=1, first=2, schedulingGates=[{"name": "example.com/quota"}])
    stage.create(*held)
    gang = stage.wait_reason("held", "ForeignGate")
    assert "example.com/quota" in message_of(gang)
    stage.stays_unbound("held", seconds=1.0)
    assert not any(RELEASE in pod["metadata"]["annotations"] for pod in stage.pods().values())
    removal = {"spec": {"schedulingGates": [{"$patch": "delete", "name": "example.com/quota"}]}}
    stage.kube.patch("pods", "held-2", removal, stage.namespace, kind="application/strategic-merge-patch+json")
    stage.wait_bound("held", 3)


def test_an_elastic_gang_starts_with_its_minimum_and_takes_the_rest_later(stage: Stage) -> None:
    stage.add_nodes(1, gpus=4)
    stage.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")
    stage.create_gang("elastic", 4, minimum=2)
    stage.wait_bound("elastic", 2)
    assert len(bound(stage.pods("elastic"))) == 2
    stage.kubectl("delete", "pod", "blocker", "-n", stage.namespace)
    stage.wait_bound("elastic", 4)


def test_a_deleted_member_before_the_release_is_missed(stage: Stage, judge: JudgeProcess) -> None:
    stage.add_nodes(1, gpus=4)
    stage.create(stage.pod("blocker", gpus=2))
    stage.wait_pod_bound("blocker")
    stage.create_gang("shrinks", 3)
    stage.wait_reason("shrinks", "InsufficientResources")
    stage.kubectl("delete", "pod", "shrinks-1", "-n", stage.namespace)
    stage.wait_gang("shrinks", lambda gang: "2 of 3" in message_of(gang))
    stage.kubectl("delete", "pod", "blocker", "-n", stage.namespace)
    stage.stays_unbound("shrinks", seconds=1.0)
    stage.create(*stage.gang_pods("shrinks", 3, count=1, first=1))
    stage.wait_bound("shrinks", 3)
    assert phase_of(stage.wait_phase("shrinks", "Running")) == "Running"
    assert judge.verdict()["gangs"][f"{stage.namespace}/shrinks"]["commits"] == 1
