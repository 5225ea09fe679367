"""Containers as processes: their ends, their restarts, their logs and how they are told to stop."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from bones.control_plane import Kubectl
from bones.kube import Kube
from bones.process_pods import process_pod, shell_pod

pytestmark = pytest.mark.cluster

Pod = dict[str, Any]
Run = Callable[[Pod], str]
Wait = Callable[..., Pod]


def phase(pod: Pod) -> str:
    return str(pod["status"].get("phase"))


def is_over(pod: Pod) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def state(pod: Pod, name: str = "main", kind: str = "containerStatuses") -> dict[str, Any]:
    found = [entry for entry in pod["status"].get(kind) or [] if entry["name"] == name]
    return dict(found[0]["state"]) if found else {}


def waiting_reason(pod: Pod) -> str:
    return str(state(pod).get("waiting", {}).get("reason"))


def main_status(pod: Pod) -> dict[str, Any]:
    statuses = pod["status"].get("containerStatuses")
    return dict(statuses[0]) if statuses else {"restartCount": 0, "state": {}}


def condition(pod: Pod, kind: str) -> str:
    return next(entry["status"] for entry in pod["status"]["conditions"] if entry["type"] == kind)


def test_an_exit_code_and_last_words_arrive(run: Run, wait_pod: Wait) -> None:
    name = run(shell_pod("ends", "echo it was me > /dev/termination-log; exit 3"))
    pod = wait_pod(name, is_over, "the end")
    ended = state(pod)["terminated"]
    assert phase(pod) == "Failed"
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "it was me\n")
    assert pod["status"]["podIP"].startswith("127.")


def test_a_pod_that_works_is_ready_and_then_succeeds(run: Run, wait_pod: Wait) -> None:
    name = run(shell_pod("works", "sleep 0.5"))
    wait_pod(name, lambda pod: phase(pod) == "Running" and condition(pod, "Ready") == "True", "readiness")
    pod = wait_pod(name, is_over, "the end")
    assert phase(pod) == "Succeeded"
    assert state(pod)["terminated"]["reason"] == "Completed"


def test_logs_are_the_last_words_where_nothing_else_was_said(run: Run, wait_pod: Wait) -> None:
    container = {
        "image": "python:3.11",
        "command": ["python", "-c", "raise SystemExit('no such model')"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod = wait_pod(run(process_pod("says", container)), is_over, "the end")
    assert state(pod)["terminated"]["message"] == "no such model"


def test_a_failing_container_comes_back_with_back_off(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    name = run(shell_pod("crashes", "echo attempt $$; exit 1", restartPolicy="OnFailure"))
    pod = wait_pod(name, lambda pod: waiting_reason(pod) == "CrashLoopBackOff", "a back-off")
    assert "restarting failed container=main" in state(pod)["waiting"]["message"]
    assert main_status(pod)["lastState"]["terminated"]["exitCode"] == 1
    wait_pod(name, lambda pod: main_status(pod)["restartCount"] >= 3, "three restarts")
    assert command("logs", name, "--previous").startswith("attempt ")


def test_init_containers_run_one_after_the_other(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    script = "echo $NAME >> /shared/order"
    inits = [
        {
            "name": name,
            "image": "muster-host",
            "command": ["sh", "-c", script],
            "env": [{"name": "NAME", "value": name}],
            "volumeMounts": mounts,
        }
        for name in ("first", "second")
    ]
    container = {"image": "muster-host", "command": ["cat", "/shared/order"], "volumeMounts": mounts}
    volumes = [{"name": "shared", "emptyDir": {}}]
    name = run(process_pod("steps", container, initContainers=inits, volumes=volumes))
    assert phase(wait_pod(name, is_over, "the end")) == "Succeeded"
    assert command("logs", name) == "first\nsecond\n"


def test_a_failed_init_container_ends_the_pod(run: Run, wait_pod: Wait) -> None:
    init = {"name": "check", "image": "muster-host", "command": ["false"]}
    pod = wait_pod(run(shell_pod("unprepared", "true", initContainers=[init])), is_over, "the end")
    assert phase(pod) == "Failed"
    assert state(pod)["waiting"]["reason"] == "PodInitializing"


def test_a_sidecar_ends_when_the_work_is_done(run: Run, wait_pod: Wait) -> None:
    side = {"name": "side", "image": "muster-host", "command": ["sleep", "600"], "restartPolicy": "Always"}
    pod = wait_pod(run(shell_pod("accompanied", "true", initContainers=[side])), is_over, "the end")
    assert phase(pod) == "Succeeded"
    assert "terminated" in state(pod, "side", "initContainerStatuses")


def test_logs_follow_until_the_end(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    name = run(shell_pod("talks", "for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done; printf unfinished"))
    wait_pod(name, lambda pod: phase(pod) == "Running", "the start")
    lines = [f"line {number}" for number in range(1, 6)]
    assert command("logs", "-f", name).split("\n") == [*lines, "unfinished"]
    assert command("logs", name, "--tail=2", "-c", "main") == "line 5\nunfinished"
    assert command("logs", name, "--since-time=2100-01-01T00:00:00Z") == ""
    stamped = command("logs", name, "--timestamps", "--limit-bytes=40")
    assert stamped[4] == "-"
    assert len(stamped) == 40


def test_a_polite_container_ends_within_its_grace(run: Run, wait_pod: Wait, api: Kube, command: Kubectl) -> None:
    script = "trap 'echo saved; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    name = run(shell_pod("polite", script, terminationGracePeriodSeconds=30))
    wait_pod(name, lambda pod: phase(pod) == "Running", "the start")
    with subprocess.Popen(command.line("logs", "-f", name), stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "ready\n"
        started = time.monotonic()
        api.delete("pods", name, "default")
        api.wait_for("pods", lambda pods: name not in pods, namespace="default", what="the pod to be gone")
        assert time.monotonic() - started < 20
        try:
            assert "saved\n" in follower.communicate(timeout=20)[0]
        finally:
            follower.kill()


def test_a_stubborn_container_is_killed_after_its_grace(run: Run, wait_pod: Wait, api: Kube) -> None:
    script = "trap '' TERM; sleep 600 & while true; do sleep 0.1; done"
    name = run(shell_pod("stubborn", script, terminationGracePeriodSeconds=2))
    wait_pod(name, lambda pod: phase(pod) == "Running", "the start")
    started = time.monotonic()
    api.delete("pods", name, "default")
    api.wait_for("pods", lambda pods: name not in pods, namespace="default", what="the pod to be gone")
    assert 1.0 < time.monotonic() - started < 10


def test_a_deadline_ends_the_pod_with_its_reason(run: Run, wait_pod: Wait) -> None:
    pod = wait_pod(run(shell_pod("late", "sleep 600", activeDeadlineSeconds=1)), is_over, "the deadline")
    assert (phase(pod), pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")


def test_an_unknown_image_waits_and_says_what_to_do(run: Run, wait_pod: Wait, api: Kube) -> None:
    name = run(process_pod("foreign", {"image": "registry.example/nginx:1"}))
    pod = wait_pod(name, lambda pod: "waiting" in state(pod), "a reason")
    waiting = state(pod)["waiting"]
    assert waiting["reason"] == "ImageNotMapped"
    assert "--images" in waiting["message"]
    api.wait_for("events", lambda events: reasons(events, name) >= {"ImageNotMapped"}, namespace="default")


def reasons(events: dict[str, Any], pod: str) -> set[str]:
    return {event["reason"] for event in events.values() if event["involvedObject"]["name"] == pod}


def test_a_program_that_is_not_there_is_named(run: Run, wait_pod: Wait) -> None:
    pod = wait_pod(run(process_pod("lost", {"image": "muster-host", "command": ["no-such-program"]})), is_over, "end")
    ended = state(pod)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


def test_what_cannot_be_honoured_is_said_once(run: Run, wait_pod: Wait, api: Kube) -> None:
    container = {"image": "muster-host", "command": ["true"], "securityContext": {"privileged": True}}
    volumes = [{"name": "machine", "hostPath": {"path": "/"}}]
    name = run(process_pod("demanding", container, volumes=volumes))
    wait_pod(name, is_over, "the end")
    events = api.wait_for("events", lambda events: reasons(events, name) >= {"NotHonoured"}, namespace="default")
    [message] = [event["message"] for event in events.values() if _is_limit(event, name)]
    assert all(word in message for word in ("image contents", "securityContext (main)", "volume machine"))


def _is_limit(event: dict[str, Any], name: str) -> bool:
    return bool(event["involvedObject"]["name"] == name and event["reason"] == "NotHonoured")


def test_exec_says_that_it_is_not_supported(run: Run, wait_pod: Wait, command: Kubectl) -> None:
    name = run(shell_pod("closed", "sleep 600"))
    wait_pod(name, lambda pod: phase(pod) == "Running", "the start")
    assert "not supported on process nodes" in command.fails("exec", name, "--", "true")


def test_probes_say_when_it_has_started_is_ready_and_is_well(run: Run, wait_pod: Wait, api: Kube) -> None:
    script = "touch /tmp/started; sleep 1; touch /tmp/warm; exec python3 -m http.server 8000 --bind $IP"
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    quick = {"periodSeconds": 1, "timeoutSeconds": 5}
    container = {
        "image": "muster-host",
        "command": ["sh", "-c", script],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "volumeMounts": mounts,
        "startupProbe": {"exec": {"command": ["test", "-f", "/tmp/started"]}, **quick},
        "readinessProbe": {"tcpSocket": {"port": "http"}, **quick},
        "livenessProbe": {"httpGet": {"path": "/warm", "port": 8000}, **quick, "failureThreshold": 8},
    }
    volumes = [{"name": "tmp", "emptyDir": {}}]
    name = run(process_pod("probed", {**container, "workingDir": "/tmp"}, volumes=volumes))
    pod = wait_pod(name, lambda pod: phase(pod) == "Running" and condition(pod, "Ready") == "False", "the start")
    assert not main_status(pod)["ready"]
    wait_pod(name, lambda pod: condition(pod, "Ready") == "True", "readiness", 60)
    api.stays("pods", lambda pods: phase(pods[name]) == "Running", namespace="default", seconds=3)


def test_a_container_that_is_not_well_is_restarted(run: Run, wait_pod: Wait, api: Kube) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo unwell; false"]}, "periodSeconds": 1, "timeoutSeconds": 5}
    container = {"image": "muster-host", "command": ["sleep", "600"], "livenessProbe": probe}
    name = run(process_pod("unwell", container, restartPolicy="Always"))
    pod = wait_pod(name, lambda pod: main_status(pod)["restartCount"] >= 1, "a restart", 60)
    assert main_status(pod)["lastState"]["terminated"]["exitCode"] == 143
    api.wait_for("events", lambda events: "Unhealthy" in reasons(events, name), namespace="default")
