"""Where the index keeps what."""

from __future__ import annotations

import pytest

from muster_queue.index.buckets import Rate
from muster_queue.index.keys import GLOBAL_MARKER, GLOBAL_REBUILD, QueueKey, bucket_key


def test_all_keys_of_a_queue_share_one_hash_tag() -> None:
    queue = QueueKey("team", "gpu")
    keys = {queue.waiting, queue.leases, queue.attempts, queue.marker, queue.rebuild}
    assert len(keys) == 5
    assert {key[key.index("{") : key.index("}") + 1] for key in keys} == {"{team/gpu}"}
    assert GLOBAL_MARKER.startswith("muster:{index}:")
    assert GLOBAL_REBUILD.startswith("muster:{index}:")


@pytest.mark.parametrize(
    ("namespace", "name"), [("", "gpu"), ("team", ""), ("te{am", "gpu"), ("team", "a/b"), ("a}", "b")]
)
def test_names_that_would_tear_a_queue_apart_are_refused(namespace: str, name: str) -> None:
    with pytest.raises(ValueError, match="must be a name"):
        QueueKey(namespace, name)


def test_tenants_have_buckets_of_their_own() -> None:
    assert bucket_key("team", "submit") != bucket_key("other", "submit")
    with pytest.raises(ValueError, match="namespace"):
        bucket_key("te}am", "submit")


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (float("inf"), 1), (float("nan"), 1), (1, 0)])
def test_rates_that_let_nobody_or_everybody_pass_are_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(per_second, burst)
