"""What a node reports of a pod, and when that is worth a write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bones.process_world import NOW, ended, pod, running
from muster_local.process_node.decisions import ContainerView, Views, decide
from muster_local.process_node.objects import Pod
from muster_local.process_node.restarts import BackoffRule
from muster_local.process_node.status import Place, Verdict, pod_status, says_something_new

PLACE = Place("127.64.0.1", "127.0.0.1")


def status(own: Pod, views: Views, verdict: Verdict | None = None) -> dict[str, Any]:
    decision = decide(own, views, NOW, BackoffRule())
    return pod_status(own, views, decision, PLACE, NOW, verdict)


def conditions(report: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in report["conditions"]}


def test_a_running_pod_is_ready() -> None:
    report = status(pod(), {"main": running()})
    assert report["phase"] == "Running"
    assert report["podIPs"] == [{"ip": "127.64.0.1"}]
    assert set(conditions(report).values()) == {"True"}
    assert report["containerStatuses"][0]["state"].keys() == {"running"}


def test_an_unready_container_makes_the_pod_unready() -> None:
    view = ContainerView(attempt=running().attempt, is_ready=False)
    report = status(pod(), {"main": view})
    assert conditions(report)["Ready"] == "False"
    [ready] = [entry for entry in report["conditions"] if entry["type"] == "Ready"]
    assert ready["message"] == "containers with unready status: [main]"


def test_a_readiness_gate_is_somebody_elses() -> None:
    gates = [{"conditionType": "example.com/warm"}]
    assert conditions(status(pod(readinessGates=gates), {"main": running()}))["Ready"] == "False"


def test_an_end_is_told_with_its_code_and_the_last_one_is_kept() -> None:
    report = status(pod(restartPolicy="Never"), {"main": ended(3)})
    assert report["phase"] == "Failed"
    assert report["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    again = status(pod(), {"main": ended(1, crashes=3, number=3)})["containerStatuses"][0]
    assert again["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert again["lastState"]["terminated"]["exitCode"] == 1
    assert again["restartCount"] == 3


def test_a_verdict_is_the_pods_own_reason() -> None:
    report = status(pod(), {"main": running()}, Verdict("DeadlineExceeded", "too long"))
    assert (report["reason"], report["message"]) == ("DeadlineExceeded", "too long")


def test_what_is_known_already_is_not_written_again() -> None:
    first = status(pod(), {"main": running()})
    assert says_something_new(first, {})
    seen = pod()
    observed = {key: value for key, value in first.items() if value is not None}
    # What the API server and others add does not matter.
    observed["conditions"] = [
        *({**entry, "lastProbeTime": None} for entry in first["conditions"]),
        {"type": "PodScheduled", "status": "True"},
    ]
    observed["containerStatuses"] = [{**first["containerStatuses"][0], "lastState": {}}]
    assert not says_something_new(first, observed)
    known = Pod(metadata=seen.metadata, spec=seen.spec, status=observed)
    decision = decide(known, {"main": running()}, NOW, BackoffRule())
    later = pod_status(known, {"main": running()}, decision, PLACE, NOW + timedelta(minutes=5))
    assert not says_something_new(later, observed)
    assert says_something_new(status(known, {"main": ended(1)}), observed)
