"""One job through both doors: submitted over REST it trains and kubectl sees it; by kubectl it is in the REST list."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from bones.control_plane import Kubectl, start_cluster, wait_until
from bones.job_stage import JobStage
from bones.judging import JudgeProcess
from bones.kube import Kube
from bones.names import GPU, P
from bones.process_pods import KIND
from bones.rest_api import JOBS, RestApi
from bones.rest_streams import FollowedStream
from bones.stage import Stage
from muster_local.cluster import Cluster
from muster_local.worker import what_training_lacks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

RANKS = 4
SECONDS = 150
RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi", GPU: "1"}}
CONFIG = {"epochs": 4, "hidden_width": 48, "log_interval": 1, "step_delay_ms": 50}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two process nodes, with stores; without torch a laptop skips and CI fails."""
    lacking = what_training_lacks()
    if lacking and os.environ.get("CI") == "true":
        raise AssertionError(lacking)
    if lacking:
        pytest.skip(f"{lacking}; `make worker` installs it")
    running = start_cluster(
        tmp_path_factory.mktemp("end-to-end"),
        nodes=0,
        stores=True,
        process_nodes=2,
        process_cpu="8",
        process_memory="16Gi",
    )
    yield running
    running.down(purge=True)


@pytest.fixture(scope="module")
def kube(cluster: Cluster) -> Iterator[Kube]:
    client = Kube(cluster.kubeconfig())
    yield client
    client.close()


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster)


@pytest.fixture
def jobs(stage: Stage, judge: JudgeProcess) -> Iterator[JobStage]:
    made = JobStage(stage, nodes={KIND: "process"})
    yield made
    stage.clear()
    made.strike()


@pytest.fixture
def api(cluster: Cluster, jobs: JobStage) -> RestApi:
    return RestApi(cluster, jobs.namespace)


def phases(stream: FollowedStream) -> list[str]:
    return [change["phase"] for change in stream.changes()]


def listed(api: RestApi, jobs: JobStage) -> dict[str, dict[str, Any]]:
    """The jobs of the namespace over REST, by name."""
    answer = api.ask("GET", f"{JOBS}?namespace={jobs.namespace}")
    assert answer.status == 200, answer.body
    return {job["name"]: job for job in answer.json()["items"]}


def test_a_gang_that_was_submitted_over_rest_trains_and_is_followed_over_rest(jobs: JobStage, api: RestApi) -> None:
    job = api.submit(
        name="digits",
        namespace=jobs.namespace,
        job_type="training",
        priority=70,
        image="muster-worker",
        cluster=jobs.cluster,
        config=CONFIG,
        resources=RESOURCES,
        gang={"enabled": True, "min_members": RANKS, "topology": "ring"},
        retry_policy={"max_retries": 1, "backoff_seconds": 1},
    )
    job_id = job["job_id"]
    # Both follow from before the beginning.
    events = FollowedStream.of_events(api, job_id)
    log, other = (FollowedStream.of_logs(api, job_id, member) for member in (0, RANKS - 1))

    events.wait(lambda: "Running" in phases(events), "Running")
    log.wait(lambda: len(log.said("step")) >= 3, "three steps")
    other.wait(lambda: other.said("joined"), "joined")
    assert api.job(job_id)["phase"] == "Running"
    assert "Succeeded" not in phases(events)
    seen = json.loads(jobs.kubectl("-n", jobs.namespace, "get", "aijob", "digits", "-o", "json"))
    assert seen["metadata"]["annotations"][f"{P}job-id"] == job_id
    assert seen["status"]["phase"] == "Running"
    assert seen["status"]["ready"] == f"{RANKS}/{RANKS}"
    assert (seen["spec"]["priority"], seen["spec"]["gang"]["minMembers"]) == (70, RANKS)

    for stream in (events, log, other):
        stream.wait_end()
    assert phases(events)[-1] == "Succeeded"
    assert events.lines[-3:-1] == ["event: end", "data: {}"]
    assert log.said("finished")[0]["accuracy"] >= 0.8
    done = api.job(job_id)
    assert (done["phase"], done["attempt"], done["retries"]) == ("Succeeded", 1, 0)
    jobs.wait_phase("digits", "Succeeded")


def test_a_gang_of_kubectl_is_in_the_list_of_rest(jobs: JobStage, api: RestApi) -> None:
    manifest = jobs.manifest("mine", RANKS, config=CONFIG, resources=RESOURCES)
    jobs.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    wait_until(lambda: listed(api, jobs).get("mine", {}).get("phase") == "Running", SECONDS, "mine in the list")
    job_id = listed(api, jobs)["mine"]["job_id"]
    log = FollowedStream.of_logs(api, job_id)
    log.wait(lambda: log.said("step"), "a step")
    jobs.wait_phase("mine", "Succeeded", timeout=SECONDS)
    wait_until(lambda: api.job(job_id)["phase"] == "Succeeded", SECONDS, "its success over REST")
    told = [change["phase"] for change in api.ask("GET", f"{JOBS}{job_id}/events").json()["items"]]
    assert told[-1] == "Succeeded"
    assert list(listed(api, jobs)) == ["mine"]
