"""A job becomes an AIJob and an AIJob becomes a job, with all that either says."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from muster_api.jobs import AIJob, AIJobSpec, Execution, JobType
from muster_api.objects import ObjectMeta
from muster_api.phases import JobPhase
from muster_queue.dispatch.lapsing import after_waiting, queue_time
from muster_queue.dispatch.rendering import object_of, row_of
from muster_queue.storage.records import Job
from muster_queue.storage.transitions import ENDED

ID = UUID("01980000-0000-7000-8000-000000000001")
NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def stored(spec: bytes = b'{"jobType":"training","image":"x","priority":10,"suspend":true}', **fields: object) -> Job:
    given = {
        "id": ID,
        "namespace": "team-a",
        "name": "one",
        "job_type": "training",
        "queue": "default",
        "cluster": "",
        "execution": "pod",
        "priority": 70,
        "phase": JobPhase.QUEUED,
        "reason": "",
        "message": "",
        "version": 3,
        "attempt": 0,
        "retries": 0,
        "spec": msgspec.Raw(spec),
        "submitter": "ada",
        "created_at": NOW,
        "updated_at": NOW,
        "labels": {"team": "vision"},
    }
    return Job(**(given | fields))


def test_the_object_says_what_the_row_says_now() -> None:
    made = object_of(stored())
    assert made["spec"] == {"jobType": "training", "image": "x", "priority": 70, "suspend": False, "queue": "default"}
    metadata = made["metadata"]
    assert (metadata["namespace"], metadata["name"], metadata["labels"]) == ("team-a", "one", {"team": "vision"})
    assert metadata["annotations"]["aiplatform.example.com/job-id"] == str(ID)
    assert metadata["annotations"]["aiplatform.example.com/submitted"] == "2026-01-01T12:30:15.123456Z"


def test_both_say_which_trace_the_job_belongs_to() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    annotation = "aiplatform.example.com/trace"
    assert object_of(stored(trace=trace))["metadata"]["annotations"][annotation] == trace
    assert annotation not in object_of(stored())["metadata"]["annotations"]
    for written, kept in ((trace, trace), ("nonsense", None)):
        metadata = ObjectMeta(uid="u", annotations={annotation: written})
        assert row_of(AIJob(metadata=metadata, spec=AIJobSpec(job_type=JobType.TRAINING)), 50).trace == kept


def test_a_spec_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        object_of(stored(b'{"image":"x"}'))


def test_an_object_of_kubectl_becomes_the_same_row_each_time() -> None:
    metadata = ObjectMeta(
        namespace="team-a", name="one", uid="u", creation_timestamp="2026-01-01T12:30:15Z", labels={"a": "b"}
    )
    job = AIJob(metadata=metadata, spec=AIJobSpec(job_type=JobType.TRAINING, image="x"))
    row = row_of(job, 80)
    assert row == row_of(job, 80)
    assert (row.priority, row.phase, row.labels, row.submitter) == (80, JobPhase.QUEUED, {"a": "b"}, "kubernetes")
    assert row.object_uid == "u", "else it would be taken for a job that is to get an AIJob"
    assert msgspec.json.decode(row.spec, type=AIJobSpec) == job.spec


@pytest.mark.parametrize(
    ("spec", "phase"), [({"suspend": True}, JobPhase.HELD), ({"execution": Execution.POOL}, JobPhase.PENDING)]
)
def test_it_begins_where_it_is(spec: dict[str, object], phase: JobPhase) -> None:
    job = AIJob(metadata=ObjectMeta(uid="u"), spec=AIJobSpec(job_type=JobType.TRAINING, **spec))
    assert row_of(job, 50).phase is phase


def test_a_pause_that_is_over_lets_it_wait_again_with_its_limit() -> None:
    spec = b'{"queueTimeoutSeconds":60}'
    change = after_waiting(stored(spec, phase=JobPhase.RETRYING))
    assert change is not None
    assert (change.target, change.wake_seconds, change.version) == (JobPhase.QUEUED, 60, 3)


@pytest.mark.parametrize("phase", [JobPhase.QUEUED, JobPhase.HELD, JobPhase.PENDING])
def test_what_waits_too_long_fails(phase: JobPhase) -> None:
    change = after_waiting(stored(phase=phase))
    assert change is not None and (change.target, change.reason) == (JobPhase.FAILED, "QueueTimeout")


@pytest.mark.parametrize("phase", sorted(ENDED))
def test_what_has_ended_and_was_kept_long_enough_is_gone(phase: JobPhase) -> None:
    change = after_waiting(stored(phase=phase))
    assert change is not None and (change.target, change.is_gone, change.version) == (None, True, 3)


def test_a_limit_that_cannot_be_read_is_none() -> None:
    assert queue_time(stored(b'{"queueTimeoutSeconds":"soon"}')) is None
