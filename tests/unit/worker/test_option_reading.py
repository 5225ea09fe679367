"""Options from the job's configuration and the command line: what is wrong is named, all of it at once."""

from __future__ import annotations

import pytest

from muster_worker.errors import RefusedError
from muster_worker.option_reading import read_options
from muster_worker.options import Backend, InferenceOptions, TrainingOptions


def read(configuration: str = "", **given: str) -> TrainingOptions:
    return read_options(TrainingOptions, {"MUSTER_CONFIG": configuration}, given)


def test_without_anything_the_defaults_hold() -> None:
    assert read() == TrainingOptions()
    assert read_options(TrainingOptions, {}, {}) == TrainingOptions()


def test_the_command_line_wins_over_the_configuration() -> None:
    options = read('{"epochs": 3, "learning_rate": 1, "backend": "gloo"}', epochs="4", dropout="0.5")
    assert (options.epochs, options.learning_rate, options.dropout, options.backend) == (4, 1.0, 0.5, Backend.GLOO)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ('{"epoch": 3}', "epoch: no such option; did you mean epochs? known are epochs, batch_size"),
        ('{"epochs": "3"}', "epochs: expected `int`, got `str`; given was '3', accepted is >= 1 and <= 1000000"),
        ('{"epochs": 0}', "epochs: expected `int` >= 1; given was 0, accepted is >= 1 and <= 1000000"),
        ('{"epochs": null}', "epochs: expected `int`, got `null`"),
        ('{"epochs": true}', "epochs: expected `int`, got `bool`"),
        ('{"epochs": 2.5}', "epochs: expected `int`, got `float`"),
        ('{"learning_rate": 0}', "learning_rate: expected `float` > 0.0; given was 0, accepted is > 0 and <= 10"),
        ('{"dropout": 1}', "dropout: expected `float` < 1.0"),
        ('{"backend": "mpi"}', "backend: invalid enum value 'mpi'; given was 'mpi', accepted are auto, gloo, nccl"),
        ('{"seed": -1}', "seed: expected `int` >= 0"),
        ("[1]", "MUSTER_CONFIG: expected a JSON object, got [1]"),
        ("null", "MUSTER_CONFIG: expected a JSON object, got null"),
        ("{epochs: 3}", "MUSTER_CONFIG: expected a JSON object, got {epochs: 3}"),
        ('{"learning_rate": NaN}', "MUSTER_CONFIG: expected a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_accepted(configuration: str, said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read(configuration)
    assert said in str(refused.value)


@pytest.mark.parametrize("typed", ["x", "", "1.5", "0x10", "nan", "99999999999999999999999"])
def test_a_malformed_number_on_the_command_line_is_refused(typed: str) -> None:
    with pytest.raises(RefusedError, match=r"^epochs: "):
        read(epochs=typed)


@pytest.mark.parametrize("typed", ["nan", "inf", "-inf", "-1"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(typed: str) -> None:
    with pytest.raises(RefusedError, match=r"^learning_rate: "):
        read(learning_rate=typed)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(RefusedError) as refused:
        read('{"epochs": 0, "colour": "red"}', batch_size="many")
    assert [part.split(":")[0] for part in str(refused.value).split("; ") if ":" in part] == [
        "colour",
        "epochs",
        "batch_size",
    ]


def test_a_huge_value_does_not_fill_the_message() -> None:
    with pytest.raises(RefusedError) as refused:
        read('{"epochs": "' + "9" * 10_000 + '"}')
    assert len(str(refused.value)) < 400


def test_the_specifications_inference_example_is_accepted() -> None:
    options = read_options(InferenceOptions, {"MUSTER_CONFIG": '{"model": "resnet50", "batch_size": 32}'}, {})
    assert (options.model, options.batch_size) == ("resnet50", 32)
