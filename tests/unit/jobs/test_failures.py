"""Why a pod has failed, and how long its job waits before the next attempt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bones.job_views import make_end
from muster_api.jobs import FailureClass, JobRetryPolicy
from muster_api.objects import Pod
from muster_queue.jobs.failures import LONGEST_BACKOFF, backoff, blame, classify, state_of


def pod(exit_code: int | None = None, reason: str = "", message: str = "", **status: Any) -> Pod:
    ended = {"exitCode": exit_code, "reason": reason or "Error", "message": message}
    state = {"terminated": ended} if exit_code is not None else {}
    given = {"phase": "Failed", "containerStatuses": [{"name": "main", "state": state}]}
    return msgspec.convert({"status": given | status}, Pod)


def disrupted(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


@pytest.mark.parametrize(
    ("failed", "want"),
    [
        pytest.param(pod(1), FailureClass.EXIT_CODE, id="an exit code"),
        pytest.param(pod(2, message="refused: epochs\n"), FailureClass.VALIDATION, id="a refused configuration"),
        pytest.param(pod(2), FailureClass.EXIT_CODE, id="a program that ends with 2 for reasons of its own"),
        pytest.param(pod(1, message="refused: by a peer"), FailureClass.EXIT_CODE, id="another exit code"),
        pytest.param(pod(137, "OOMKilled"), FailureClass.OUT_OF_MEMORY, id="out of memory"),
        pytest.param(pod(143), FailureClass.EXIT_CODE, id="a process that ended itself with 143"),
        pytest.param(pod(143, conditions=disrupted("EvictionByEvictionAPI")), FailureClass.PREEMPTED, id="an eviction"),
        pytest.param(pod(conditions=disrupted("DeletionByTaintManager")), FailureClass.NODE_LOST, id="a lost node"),
        pytest.param(msgspec.convert({"status": {"phase": "Failed", "reason": "Evicted"}}, Pod),
                     FailureClass.PREEMPTED, id="evicted by its kubelet"),
    ],
)  # fmt: skip
def test_a_failure_has_a_class(failed: Pod, want: FailureClass) -> None:
    assert classify(state_of(failed)) is want


def beside_a_proxy(*states: dict[str, Any], **status: Any) -> Pod:
    """Kubelets report containers by name, and what a mesh injects may come before the job's own."""
    names = ("istio-proxy", "main")
    containers = [{"name": name, "state": state} for name, state in zip(names, states, strict=True)]
    return pod(containerStatuses=containers, **status)


def test_the_job_s_own_container_is_judged_whatever_stands_beside_it() -> None:
    over: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    failed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert classify(state_of(beside_a_proxy(over, failed))) is FailureClass.OUT_OF_MEMORY
    waiting = {"waiting": {"reason": "ErrImagePull"}}
    assert state_of(beside_a_proxy({"running": {}}, waiting, phase="Pending")).image_problem == "ErrImagePull"


def test_without_a_container_of_that_name_the_first_is_judged() -> None:
    only = {"name": "other", "state": {"terminated": {"exitCode": 7}}}
    assert state_of(pod(containerStatuses=[only])).exit_code == 7


def test_a_pod_that_is_deleted_and_ends_with_143_was_preempted() -> None:
    assert classify(state_of(pod(143)), is_deleting=True) is FailureClass.PREEMPTED


def test_an_image_that_cannot_be_pulled_is_seen_while_the_pod_waits() -> None:
    waiting = {"waiting": {"reason": "ImageNotMapped", "message": "no entry for worker:v9"}}
    state = state_of(pod(phase="Pending", containerStatuses=[{"name": "main", "state": waiting}]))
    assert (state.image_problem, state.message) == ("ImageNotMapped", "no entry for worker:v9")


def test_the_jobs_own_doing_is_blamed_before_what_was_done_to_it() -> None:
    ends = (make_end(FailureClass.PREEMPTED), make_end(FailureClass.EXIT_CODE), make_end(FailureClass.VALIDATION))
    assert blame(ends).failure is FailureClass.VALIDATION


def test_without_a_counted_failure_there_is_no_pause() -> None:
    assert backoff(JobRetryPolicy(), 0, "uid") == 0.0


@given(retries=st.integers(1, 200), first=st.integers(0, 3600), factor=st.floats(1, 10), seed=st.text(max_size=8))
def test_pauses_grow_and_are_capped(retries: int, first: int, factor: float, seed: str) -> None:
    policy = JobRetryPolicy(backoff_seconds=first, backoff_multiplier=factor)
    pause = backoff(policy, retries, seed)
    plain = min(LONGEST_BACKOFF, first * factor ** min(retries - 1, 64))
    assert plain <= pause <= min(LONGEST_BACKOFF, plain * 1.1)
    assert backoff(policy, retries, seed) == pause
