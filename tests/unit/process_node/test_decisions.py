"""What a process node does next with a pod, by the rules of a kubelet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bones.process_world import NOW, ended, pod, running
from muster_local.process_node.decisions import ContainerView, decide, final_phase
from muster_local.process_node.restarts import BackoffRule, counted_crashes, may_restart, restart_delay

RULE = BackoffRule()


def test_delays_double_from_ten_seconds_to_five_minutes() -> None:
    assert [restart_delay(crashes, RULE) for crashes in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert restart_delay(2, RULE.scaled(0.1)) == pytest.approx(2.0)


def test_a_long_run_is_forgiven() -> None:
    assert counted_crashes(5, 599, RULE) == 5
    assert counted_crashes(5, 600, RULE) == 0


@pytest.mark.parametrize(
    ("policy", "code", "wanted"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, code: int, wanted: bool) -> None:
    assert may_restart(policy, code) is wanted


def test_a_new_pod_starts_its_containers() -> None:
    decision = decide(pod({}, {"name": "other"}), {"main": ContainerView(), "other": ContainerView()}, NOW, RULE)
    assert decision.start == ["main", "other"]
    assert decision.phase == "Pending"


def test_it_runs_once_every_container_has_been_started() -> None:
    assert decide(pod(), {"main": running()}, NOW, RULE).phase == "Running"


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
def test_the_end_of_a_pod_that_is_not_restarted(code: int, phase: str) -> None:
    decision = decide(pod(restartPolicy="Never"), {"main": ended(code)}, NOW, RULE)
    assert (decision.phase, decision.start) == (phase, [])


def test_the_first_restart_comes_at_once_the_second_waits() -> None:
    assert decide(pod(), {"main": ended(1)}, NOW, RULE).start == ["main"]
    decision = decide(pod(), {"main": ended(1, ago=4, number=1, crashes=1)}, NOW, RULE)
    assert decision.start == []
    assert decision.waiting["main"] == ("CrashLoopBackOff", "back-off 10s restarting failed container=main")
    assert decision.look_again == pytest.approx(6)
    assert decision.phase == "Running"
    later = decide(pod(), {"main": ended(1, ago=10, number=1, crashes=1)}, NOW, RULE)
    assert later.start == ["main"]


def test_init_containers_go_first_and_one_by_one() -> None:
    own = pod(initContainers=[{"name": "a"}, {"name": "b"}])
    views = {"a": ContainerView(), "b": ContainerView(), "main": ContainerView()}
    first = decide(own, views, NOW, RULE)
    assert (first.start, first.waiting["b"][0], first.waiting["main"][0]) == (
        ["a"],
        "PodInitializing",
        "PodInitializing",
    )
    assert decide(own, views | {"a": running()}, NOW, RULE).start == []
    assert decide(own, views | {"a": ended(0)}, NOW, RULE).start == ["b"]
    last = decide(own, views | {"a": ended(0), "b": ended(0)}, NOW, RULE)
    assert (last.start, last.is_initialized) == (["main"], True)


def test_a_failed_init_container_fails_the_pod_or_comes_back() -> None:
    views = {"a": ended(1), "main": ContainerView()}
    assert decide(pod(initContainers=[{"name": "a"}], restartPolicy="Never"), views, NOW, RULE).phase == "Failed"
    assert decide(pod(initContainers=[{"name": "a"}]), views, NOW, RULE).start == ["a"]


def test_a_sidecar_runs_beside_and_ends_last() -> None:
    own = pod(initContainers=[{"name": "side", "restartPolicy": "Always"}], restartPolicy="Never")
    assert decide(own, {"side": ContainerView(), "main": ContainerView()}, NOW, RULE).start == ["side"]
    assert decide(own, {"side": running(), "main": ContainerView()}, NOW, RULE).start == ["main"]
    done = decide(own, {"side": running(), "main": ended(0)}, NOW, RULE)
    assert (done.stop, done.phase) == (["side"], "Running")
    over = decide(own, {"side": ended(143), "main": ended(0)}, NOW, RULE)
    assert (over.stop, over.start, over.phase) == ([], [], "Succeeded")


def test_trouble_is_the_reason_that_is_shown() -> None:
    view = ContainerView(trouble=("ImageNotMapped", "no entry"))
    assert decide(pod(), {"main": view}, NOW, RULE).waiting["main"] == ("ImageNotMapped", "no entry")


def test_a_pod_told_to_end_succeeds_only_if_all_of_it_did() -> None:
    own = pod({}, {"name": "other"})
    assert final_phase(own, {"main": ended(0), "other": ended(0)}) == "Succeeded"
    assert final_phase(own, {"main": ended(0), "other": ended(143)}) == "Failed"
    assert final_phase(own, {"main": ended(0), "other": ContainerView()}) == "Failed"


def test_time_is_counted_from_the_end_of_the_last_run() -> None:
    view = ended(1, ago=0, crashes=3)
    waits = [decide(pod(), {"main": view}, NOW + timedelta(seconds=s), RULE).look_again for s in (0, 39)]
    assert waits == [pytest.approx(40), pytest.approx(1)]
