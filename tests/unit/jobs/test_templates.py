"""The pods of a job: what they look like, and that the planner knew it before they existed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bones.job_stage import environment_of
from bones.job_views import GANG_OF_JOB, make_job
from muster_api.jobs import (
    AIJobQueue,
    AIJobQueueSpec,
    ComputeCluster,
    ComputeClusterSpec,
    EnvironmentVariable,
    JobGang,
    JobResources,
    PriorityWord,
)
from muster_api.membership import shape_of
from muster_api.names import BIND_MARKER, GPU_RESOURCE, JOB_VARIABLES, MEMBER_MARKER
from muster_api.objects import Pod
from muster_api.tickets import Ticket, parse_epoch, sign
from muster_planner.request import constraints_of
from muster_queue.jobs.environment import Run
from muster_queue.jobs.templates import PodPress, priority_of, resources_of, template_of

RUN = Run("train", GANG_OF_JOB, "2-3", 4, 2)
GPUS = (GPU_RESOURCE,)


def press_one(ordinal: int = 1, **fields: Any) -> dict[str, Any]:
    gang = JobGang(enabled=True, min_members=2)
    template = template_of(make_job(**({"gang": gang} | fields)), None, None, GPUS)
    ticket = sign(b"key", "team", Ticket(GANG_OF_JOB, parse_epoch("2-3"), ordinal, "node-1"))
    pod: dict[str, Any] = msgspec.json.decode(PodPress(template, RUN).body(ordinal, "node-1", ticket))
    return pod


def test_each_pod_has_its_own_name_rank_node_and_ticket() -> None:
    pod = press_one(1)
    metadata, spec = pod["metadata"], pod["spec"]
    assert metadata["name"] == spec["hostname"] == "train-4-1"
    assert spec["subdomain"] == "train"
    assert spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]
    }
    assert metadata["annotations"]["aiplatform.example.com/release"].startswith(f"v1.{GANG_OF_JOB}.2-3.1.node-1.")
    assert environment_of(pod)["RANK"] == "1"
    assert "schedulingGates" not in spec


def test_a_pod_carries_the_trace_of_its_job_on_to_its_processes() -> None:
    trace, annotation = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "aiplatform.example.com/trace"
    pod = press_one(annotations={annotation: trace})
    assert pod["metadata"]["annotations"][annotation] == environment_of(pod)["TRACEPARENT"] == trace
    own = press_one(annotations={annotation: trace}, env=(EnvironmentVariable(name="TRACEPARENT", value="mine"),))
    assert own["metadata"]["annotations"][annotation] == trace
    assert environment_of(own)["TRACEPARENT"] == "mine"
    wrong = press_one(annotations={annotation: "00-$(HOME)"})
    assert annotation not in wrong["metadata"]["annotations"]
    assert "TRACEPARENT" not in environment_of(wrong)


def test_what_a_user_writes_arrives_as_it_is() -> None:
    env = (EnvironmentVariable(name="GREETING", value='say "@hi@" \\ $(HOME) \u00e9'), EnvironmentVariable(name="RANK"))
    pod = press_one(command=("sh", "-c"), args=('echo "$@"',), env=env, config={"a": ["$(RANK)", None]})
    container = pod["spec"]["containers"][0]
    found = environment_of(pod)
    assert (container["command"], container["args"]) == (["sh", "-c"], ['echo "$@"'])
    assert found["GREETING"] == env[0].value
    assert found["MUSTER_CONFIG"] == '{"a":["$$(RANK)",null]}'
    assert [one["name"] for one in container["env"]].count("RANK") == 1


def test_no_text_of_a_user_is_taken_for_a_field() -> None:
    """A NUL is no more than any other character to a CRD."""
    texts = ("\0ordinal\0", "\0node\0", "\0ticket\0", "ordinal", '\0"', "\\u0000ordinal\\u0000")
    pod = press_one(args=texts, env=(EnvironmentVariable(name="A", value="\0ordinal\0"),))
    assert pod["spec"]["containers"][0]["args"] == list(texts)
    assert environment_of(pod)["A"] == "\0ordinal\0"


def test_users_are_warned_of_every_variable_that_is_not_theirs() -> None:
    assert set(environment_of(press_one())) == JOB_VARIABLES


def test_the_shape_is_known_before_there_is_a_pod() -> None:
    """Neither the pin nor the ticket changes it, or nobody would know what the slots of a plan ask for."""
    job = make_job(resources=JobResources(requests={"cpu": "1500m", GPU_RESOURCE: 2}))
    cluster = ComputeCluster(spec=ComputeClusterSpec(node_selector={"accelerator": "a100"}))
    template = template_of(job, None, cluster, GPUS)
    ticket = sign(b"key", "team", Ticket(GANG_OF_JOB, parse_epoch("2-3"), 0, "node-1"))
    pod = msgspec.json.decode(PodPress(template, RUN).body(0, "node-1", ticket), type=Pod)
    assert shape_of(pod) == template.shape
    assert constraints_of(pod) == constraints_of(template.example)
    assert (template.gpus, template.members, template.minimum) == (2, 1, 1)


@pytest.mark.parametrize(
    ("asked", "requests", "limits"),
    [
        pytest.param(None, {"cpu": "1", "memory": "1Gi"}, {}, id="nothing"),
        pytest.param(JobResources(requests={"cpu": 2}), {"cpu": "2"}, {}, id="a number without quotes"),
        pytest.param(JobResources(requests={GPU_RESOURCE: 1}), {GPU_RESOURCE: "1"}, {GPU_RESOURCE: "1"}, id="a device"),
        pytest.param(JobResources(limits={"cpu": "2"}), {"cpu": "2"}, {"cpu": "2"}, id="limits alone"),
    ],
)
def test_members_ask_for_what_their_job_says(
    asked: JobResources | None, requests: dict[str, str], limits: dict[str, str]
) -> None:
    markers = {MEMBER_MARKER: "0", BIND_MARKER: "0"}
    assert resources_of(asked) == {"requests": requests | markers, "limits": limits | markers}


def test_a_queue_gives_resources_and_priority_to_jobs_that_state_none() -> None:
    defaults = JobResources(requests={"memory": "3Gi"})
    queue = AIJobQueue(spec=AIJobQueueSpec(priority_class=PriorityWord.HIGH, default_resources=defaults))
    template = template_of(make_job(), queue, None, GPUS)
    assert template.priority == 80
    assert template.example.spec.containers[0].resources.requests["memory"] == "3Gi"
    assert priority_of(make_job(priority=7), queue) == 7
    assert priority_of(make_job(), None) == 50


def test_an_elastic_job_asks_for_all_and_needs_its_minimum() -> None:
    template = template_of(make_job(gang=JobGang(enabled=True, min_members=2, members=5)), None, None, GPUS)
    assert (template.members, template.minimum) == (5, 2)


def test_what_a_member_asks_for_fits_into_the_gang() -> None:
    """Also where there are several kinds of GPUs."""
    kinds = (GPU_RESOURCE, "amd.com/gpu")
    job = make_job(resources=JobResources(requests=dict.fromkeys(kinds, "9E")))
    assert template_of(job, None, None, kinds).gpus_each == 2**63 - 1


def test_the_port_differs_between_epochs_and_stays_in_its_range() -> None:
    ports = {Run("train", GANG_OF_JOB, f"1-{count}", 1, 4).master_port for count in range(100)}
    assert len(ports) > 90
    assert min(ports) >= 20_000
    assert max(ports) < 30_000
