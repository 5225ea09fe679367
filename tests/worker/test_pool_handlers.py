"""What a warm worker does for a job, with the real model."""

from __future__ import annotations

import pytest

from muster_worker.digits import load_digits
from muster_worker.errors import RefusedError
from muster_worker.pool.handlers import HANDLERS, GivenUpError, Report, available


def test_both_types_can_be_done_here() -> None:
    assert available() == ["simulation", "inference"]


def test_held_out_digits_are_recognised() -> None:
    report = Report()
    result = HANDLERS["inference"]({"count": 300, "batch_size": 64}, report)
    assert result["accuracy"] > 0.9 and len(result["classes"]) == 300
    assert report.share == 1.0


def test_the_jobs_own_images_are_classified() -> None:
    samples = load_digits().held_out
    inputs = (samples.images[:20] * 16).round().tolist()
    result = HANDLERS["inference"]({"inputs": inputs}, Report())
    right = sum(int(found == label) for found, label in zip(result["classes"], samples.labels[:20], strict=True))
    assert right >= 17 and result["accuracy"] is None


def test_a_simulation_is_the_same_for_the_same_seed() -> None:
    config = {"rounds": 5, "samples_per_round": 2000, "seed": 3}
    first, second = (HANDLERS["simulation"](config, Report()) for _ in range(2))
    assert first == second and abs(first["estimate"] - 3.14159) < 0.1


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [("inference", {"inputs": [[1, 2]]}, "inputs"), ("simulation", {"round": 3}, "round")],
)
def test_options_that_are_not_right_are_refused(kind: str, config: dict[str, object], field: str) -> None:
    with pytest.raises(RefusedError, match=field):
        HANDLERS[kind](config, Report())


@pytest.mark.parametrize("kind", ["inference", "simulation"])
def test_what_is_given_up_stops_at_its_next_step(kind: str) -> None:
    report = Report()
    report.give_up()
    with pytest.raises(GivenUpError):
        HANDLERS[kind]({}, report)
