"""AIJobs from kubectl to their end, on simulated nodes and with a judge beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bones.builders import make_pod
from bones.control_plane import Faults
from bones.job_stage import JobStage, environment_of, status_of
from bones.judging import JudgeProcess
from bones.names import GANG, GPU, RELEASE, RUN_SECONDS, P
from bones.stage import Stage, bound

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

EXAMPLES = Path(__file__).parents[1] / "integration" / "webhook" / "examples"
SIZE = 4
RECOVERY_SECONDS = 90


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage)
    yield made
    stage.clear()
    made.strike()


def test_the_example_of_the_specification_runs_as_it_is(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    jobs.kubectl("-n", jobs.namespace, "apply", "-f", str(EXAMPLES / "aijob.yaml"))
    jobs.wait_phase("inference-job-001", "Running")
    jobs.wait("inference-job-001", lambda job: status_of(job).get("ready") == "1/1", what="all members running")
    table = jobs.kubectl("-n", jobs.namespace, "get", "aijobs")
    assert {"PHASE", "READY", "Running", "1/1"} <= set(table.split())


def test_a_gang_starts_together_with_its_environment(jobs: JobStage) -> None:
    jobs.stage.add_nodes(2, gpus=2)
    config = {"epochs": 3, "note": "$(HOME)"}
    jobs.create("train", SIZE, config=config, env=[{"name": "OWN", "value": "1"}, {"name": "RANK", "value": "9"}])
    jobs.wait_attempt("train", 1)
    pods = jobs.pods("train")
    assert sorted(pods) == [f"train-1-{rank}" for rank in range(SIZE)]
    for rank in range(SIZE):
        pod = pods[f"train-1-{rank}"]
        found = environment_of(pod)
        assert (found["RANK"], found["NODE_RANK"], found["WORLD_SIZE"]) == (str(rank), str(rank), str(SIZE))
        assert (found["MASTER_ADDR"], found["OWN"], found["MUSTER_ATTEMPT"]) == ("train-1-0.train", "1", "1")
        assert json.loads(found["MUSTER_CONFIG"].replace("$$", "$")) == config
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (f"train-1-{rank}", "train")
    service = jobs.kube.get("services", "train", jobs.namespace)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_a_job_succeeds_when_all_its_members_have(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    jobs.create("short", SIZE, annotations={RUN_SECONDS: "1"})
    status = status_of(jobs.wait_phase("short", "Succeeded"))
    assert status["startTime"] <= status["completionTime"]
    gang = jobs.kube.get("gangs", "aijob-short", jobs.namespace)
    assert gang["status"]["phase"] == "Succeeded"


def test_one_failed_member_fails_the_attempt_and_retries_end_in_a_dead_letter(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    jobs.create("train", SIZE, retryPolicy={"maxRetries": 1, "backoffSeconds": 1})
    jobs.wait_attempt("train", 1)
    jobs.end("train-1-2", 1)
    jobs.wait_attempt("train", 2)
    jobs.end("train-2-1", 137)
    status = status_of(jobs.wait_phase("train", "DeadLetter"))
    assert [(one["number"], one["exitCode"]) for one in status["attempts"]] == [(1, 1), (2, 137)]
    jobs.annotate("train", "retry", "once more")
    assert status_of(jobs.wait_attempt("train", 3))["retries"] == 0


def test_a_refused_configuration_is_not_tried_again(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    jobs.create("train", SIZE)
    jobs.wait_attempt("train", 1)
    jobs.end("train-1-0", 2)
    jobs.wait_attempt("train", 2)
    jobs.end("train-2-0", 2, "refused: epochs: expected `int` >= 1")
    assert status_of(jobs.wait_phase("train", "Failed"))["reason"] == "Validation"


def test_a_deleted_member_costs_no_retry(jobs: JobStage) -> None:
    """Scenario 27 for jobs: a gang of processes that know each other is replaced as a whole, at once."""
    jobs.stage.add_nodes(1)
    jobs.create("train", SIZE, retryPolicy={"maxRetries": 0})
    jobs.wait_attempt("train", 1)
    jobs.kube.delete("pods", "train-1-3", jobs.namespace)
    status = status_of(jobs.wait_attempt("train", 2))
    assert status.get("retries", 0) == 0
    assert status["attempts"][0]["failure"] == "deleted"


def test_time_limits_end_waiting_running_and_keeping(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("runs", SIZE, timeoutSeconds=4, retryPolicy={"maxRetries": 0}, ttlSecondsAfterFinished=3)
    jobs.wait_phase("runs", "Running")
    jobs.create("waits", SIZE, queueTimeoutSeconds=2, gpus=8)
    assert status_of(jobs.wait_phase("waits", "Failed"))["reason"] == "QueueTimeout"
    status = status_of(jobs.wait_phase("runs", "DeadLetter"))
    assert status["attempts"][0]["failure"] == "timeout"
    jobs.wait_gone("runs")


def test_a_suspended_job_gives_its_room_back_and_goes_on(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("first", SIZE)
    jobs.wait_phase("first", "Running")
    jobs.change("first", suspend=True)
    jobs.wait_phase("first", "Held")
    jobs.create("second", SIZE)
    jobs.wait_phase("second", "Running")
    jobs.change("first", suspend=False)
    jobs.wait_reason("first", "InsufficientResources")
    jobs.annotate("second", "cancel", "true")
    jobs.wait_phase("second", "Cancelled")
    assert status_of(jobs.wait_phase("first", "Running"))["attempt"] == 2


def test_a_job_that_never_fits_says_so_with_numbers(jobs: JobStage) -> None:
    jobs.stage.add_nodes(2, gpus=2)
    jobs.create("large", 8)
    message = status_of(jobs.wait_reason("large", "GangTooLarge"))["message"]
    assert "8 members" in message
    assert GPU in message
    assert message in jobs.kubectl("-n", jobs.namespace, "describe", "aijob", "large").replace("\n", " ")


def test_queue_and_cluster_limits_are_kept_and_told(stage: Stage, judge: JudgeProcess) -> None:
    stage.add_nodes(2)
    limited = JobStage(stage, maxGPUs=4)
    limited.queue("one", maxConcurrency=1, priorityClass="high")
    limited.create("first", 2, queue="one")
    limited.wait_phase("first", "Running")
    assert limited.kube.get("gangs", "aijob-first", limited.namespace)["spec"]["priority"] == 80
    limited.create("second", 2, queue="one")
    assert "allows 1" in status_of(limited.wait_reason("second", "QueueLimit"))["message"]
    limited.create("third", 3)
    assert "allows 4 GPUs" in status_of(limited.wait_reason("third", "ClusterLimit"))["message"]
    counts = {"pending": 1, "running": 1}
    limited.kube.wait_for(
        "aijobqueues",
        lambda queues: counts.items() <= (queues["one"].get("status") or {}).items(),
        namespace=limited.namespace,
        what="the queue's own count",
    )
    limited.kube.delete("aijobs", "first", limited.namespace)
    limited.wait_phase("second", "Running")
    stage.clear()
    limited.strike()


def test_a_service_of_somebody_else_is_told_before_any_pod_is_made(jobs: JobStage) -> None:
    """Without it the members could not find each other."""
    jobs.stage.add_nodes(1)
    jobs.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "train", "namespace": jobs.namespace},
            "spec": {"clusterIP": "None"},
        }
    )
    jobs.create("train", SIZE)
    assert "Service train belongs to nobody" in status_of(jobs.wait_reason("train", "NameTaken"))["message"]
    assert not jobs.pods("train")
    jobs.kube.delete("services", "train", jobs.namespace)
    jobs.wait_phase("train", "Running")


def test_a_disruption_budget_does_not_keep_a_job_beyond_its_end(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    jobs.kube.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "never", "namespace": jobs.namespace},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {f"{P}job": "train"}}},
        }
    )
    jobs.create("train", SIZE, timeoutSeconds=2, retryPolicy={"maxRetries": 0})
    jobs.wait_phase("train", "DeadLetter")
    jobs.kube.wait_for("pods", lambda pods: not pods, namespace=jobs.namespace, what="the end of its pods")


def test_a_pod_that_pretends_to_belong_to_a_job_is_none_of_its_members(jobs: JobStage) -> None:
    jobs.stage.add_nodes(1)
    owner = jobs.create("train", SIZE)["metadata"]
    jobs.wait_attempt("train", 1)
    pretender = make_pod("train-1-9", jobs.namespace, gang="aijob-train", size=SIZE, on=jobs.namespace)
    pretender["metadata"]["labels"][f"{P}job"] = "train"
    reference = {
        "apiVersion": f"{P}v1alpha1",
        "kind": "AIJob",
        "name": "train",
        "uid": owner["uid"],
        "controller": True,
    }
    pretender["metadata"]["ownerReferences"] = [reference]
    jobs.stage.create(pretender)
    jobs.kube.wait_for(
        "gangs", lambda gangs: "pods-aijob-train" in gangs, namespace=jobs.namespace, what="a gang of the label's own"
    )
    jobs.kube.delete("pods", "train-1-9", jobs.namespace)
    assert status_of(jobs.job("train"))["attempt"] == 1
    forged = dict(pretender, metadata=pretender["metadata"] | {"name": "forged"})
    ticket = jobs.pods("train")["train-1-0"]["metadata"]["annotations"][RELEASE]
    forged["metadata"]["annotations"] = {**forged["metadata"]["annotations"], RELEASE: ticket}
    assert RELEASE in jobs.kubectl.fails("create", "-f", "-", stdin=json.dumps(forged))


@pytest.mark.parametrize("made", range(1, SIZE + 1))
def test_the_controller_dies_after_some_pods(jobs: JobStage, faults: Faults, made: int) -> None:
    """Scenario 9: the durable plan knows the rest; the next leader makes what is missing, under the same names."""
    jobs.stage.add_nodes(1)
    faults.arm("controller", f"controller.jobs.pod@{made}=kill")
    jobs.create("train", SIZE)
    faults.wait_dead("controller")
    jobs.stage.stays_unbound("aijob-train", seconds=1.0)
    faults.start("controller")
    assert status_of(jobs.wait_attempt("train", 1, timeout=RECOVERY_SECONDS))["ready"]
    assert len(bound(jobs.pods("train"))) == SIZE


@pytest.mark.parametrize(
    ("failpoint", "attempt"),
    [
        ("controller.jobs.gang.before@1", 1),
        ("controller.jobs.gang.after@1", 1),
        ("controller.reserve.after@1", 1),
        ("controller.release.before-released@1", 1),
        ("controller.jobs.status.before@2", 2),
        ("controller.jobs.status.after@2", 2),
        ("controller.evict.before@1", 2),
    ],
)
def test_the_controller_dies_at_a_step_of_a_job(jobs: JobStage, faults: Faults, failpoint: str, attempt: int) -> None:
    """No attempt is counted twice and none runs twice."""
    jobs.stage.add_nodes(1)
    faults.arm("controller", f"{failpoint}=kill")
    jobs.create("train", SIZE)
    if attempt > 1:
        jobs.wait_attempt("train", 1)
        jobs.end("train-1-1", 1)
    faults.wait_dead("controller")
    faults.start("controller")
    status = status_of(jobs.wait_attempt("train", attempt, timeout=RECOVERY_SECONDS))
    assert status.get("retries", 0) == attempt - 1
    assert [one["number"] for one in status.get("attempts", [])] == list(range(1, attempt))
    assert all(pod["metadata"]["labels"][GANG] == "aijob-train" for pod in jobs.pods("train").values())


def test_a_node_that_dies_under_a_running_gang_costs_no_retry(jobs: JobStage) -> None:
    """Scenario 26: the whole gang runs again elsewhere, whatever becomes of the pods on the dead node."""
    first = jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("train", SIZE, retryPolicy={"maxRetries": 0})
    jobs.wait_attempt("train", 1)
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.kube.delete("nodes", first[0])
    status = status_of(jobs.wait_attempt("train", 2, timeout=150))
    assert status["attempts"][0]["failure"] in ("nodeLost", "deleted")
    assert status.get("retries", 0) == 0


def test_a_job_deleted_at_any_moment_leaves_nothing(jobs: JobStage, faults: Faults) -> None:
    jobs.stage.add_nodes(1, gpus=SIZE)
    jobs.create("runs", SIZE)
    jobs.wait_phase("runs", "Running")
    jobs.create("waits", SIZE)
    jobs.wait_reason("waits", "InsufficientResources")
    jobs.kube.delete("aijobs", "waits", jobs.namespace)
    faults.kill("controller")
    jobs.kube.delete("aijobs", "runs", jobs.namespace)
    jobs.create("runs", SIZE)
    faults.start("controller")
    jobs.wait_attempt("runs", 1, timeout=RECOVERY_SECONDS)
    jobs.wait_gone("waits")
