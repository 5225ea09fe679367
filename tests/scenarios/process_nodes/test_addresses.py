"""Members on process nodes have loopback addresses, which no EndpointSlice may have: nobody tries to write them."""

from __future__ import annotations

import pytest

from bones.job_stage import JobStage, status_of
from bones.names import GPU

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SIZE = 2
# A member that is done has no name any more, so nobody goes before the other has found it.
SCRIPT = """
until getent hosts train-1-0.train && getent hosts train-1-1.train; do sleep 0.2; done
touch "$MUSTER_CHECKPOINT_DIR/$RANK"
until [ -e "$MUSTER_CHECKPOINT_DIR/0" ] && [ -e "$MUSTER_CHECKPOINT_DIR/1" ]; do sleep 0.2; done
"""


def test_processes_find_each_other_and_nobody_is_warned(jobs: JobStage) -> None:
    jobs.create(
        "train",
        SIZE,
        image="muster-host",
        command=["sh", "-c", SCRIPT],
        resources={"requests": {"cpu": "1", "memory": "64Mi", GPU: "1"}},
    )
    status = status_of(jobs.wait_phase("train", "Succeeded", timeout=90))
    assert status["attempt"] == 1
    assert jobs.kube.items("endpointslices", jobs.namespace) == {}
    assert jobs.kube.items("endpoints", jobs.namespace) == {}
    about = [event for event in jobs.kube.items("events", jobs.namespace).values() if "ndpoint" in event["reason"]]
    assert about == []
