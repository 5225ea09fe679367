"""A member's place, from the environment that the reconciler or torchrun writes."""

from __future__ import annotations

import pytest

from muster_worker.errors import RefusedError
from muster_worker.place import Place, place_from

GOOD = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "job-1-0.job", "MASTER_PORT": "29500"}


def test_a_process_without_a_place_is_a_gang_of_one() -> None:
    assert place_from({}) == Place()
    assert place_from({"WORLD_SIZE": "1", "RANK": "0"}).is_first


def test_a_member_finds_its_place() -> None:
    assert place_from(GOOD) == Place(rank=2, world_size=4, master_address="job-1-0.job", master_port=29500)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RANK": "4"}, "RANK: expected a whole number from 0 to 3, got '4'"),
        ({"RANK": ""}, "RANK: expected a whole number from 0 to 3, got ''"),
        ({"RANK": "-1"}, "RANK: "),
        ({"RANK": "²"}, "RANK: "),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: expected a whole number from 1 to"),
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE: "),
        ({"MASTER_PORT": "0"}, "MASTER_PORT: expected a whole number from 1 to 65535, got '0'"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT: "),
        ({"MASTER_ADDR": " "}, "MASTER_ADDR: expected the name or address of rank 0, got nothing"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK: "),
    ],
)
def test_a_place_that_cannot_be_is_refused(changed: dict[str, str], said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        place_from(GOOD | changed)
    assert said in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(RefusedError) as refused:
        place_from({"WORLD_SIZE": "4"})
    assert all(name in str(refused.value) for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
