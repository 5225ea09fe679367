"""Where a training stands and which samples come next: pure, so that any process arrives at the same order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP_STREAM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the samples of an epoch are dealt to the members: its tail that fills no whole step is left out."""

    seed: int
    training_size: int
    batch_size: int
    world_size: int

    @property
    def samples_per_step(self) -> int:
        return self.batch_size * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        return self.training_size // self.samples_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Steps taken, epochs completed, and the samples of the current epoch that are used up."""

    step: int = 0
    epoch: int = 0
    offset: int = 0

    def after_step(self, schedule: Schedule) -> Position:
        """Where the next step begins."""
        moved = Position(step=self.step + 1, epoch=self.epoch, offset=self.offset + schedule.samples_per_step)
        return moved.aligned(schedule)

    def aligned(self, schedule: Schedule) -> Position:
        """At the next epoch, if what is left of this one fills no step of this gang's size."""
        if self.offset + schedule.samples_per_step <= schedule.training_size:
            return self
        return Position(step=self.step, epoch=self.epoch + 1)


def epoch_order(schedule: Schedule, epoch: int) -> NDArray[np.int64]:
    """All samples in an order that follows from the seed and the epoch alone."""
    return np.random.default_rng((schedule.seed, epoch)).permutation(schedule.training_size)


def batch_indices(order: NDArray[np.int64], position: Position, schedule: Schedule, rank: int) -> NDArray[np.int64]:
    """The samples of one member for the step that begins at `position`."""
    begin = position.offset + rank * schedule.batch_size
    return order[begin : begin + schedule.batch_size]


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of one step's random numbers on one rank: whoever knows the step needs no generator's state."""
    sequence = np.random.SeedSequence((seed, _STEP_STREAM, step, rank))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
