"""Which samples come next follows from the seed and the position alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from muster_worker.position import Position, Schedule, batch_indices, epoch_order, step_seed

schedules = st.builds(
    Schedule,
    seed=st.integers(0, 2**32 - 1),
    training_size=st.integers(20, 60),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, 4),
)


def walk(schedule: Schedule, begin: Position, steps: int) -> list[Position]:
    positions = [begin]
    for _ in range(steps):
        positions.append(positions[-1].after_step(schedule))
    return positions


@given(schedules)
def test_an_epoch_deals_each_sample_at_most_once(schedule: Schedule) -> None:
    order = epoch_order(schedule, 0)
    dealt = [
        int(index)
        for position in walk(schedule, Position(), schedule.steps_per_epoch - 1)
        for rank in range(schedule.world_size)
        for index in batch_indices(order, position, schedule, rank)
    ]
    assert len(set(dealt)) == len(dealt) == schedule.steps_per_epoch * schedule.samples_per_step


@given(schedules, st.integers(1, 60))
def test_a_walk_from_any_position_is_the_rest_of_the_walk(schedule: Schedule, resumed_at: int) -> None:
    whole = walk(schedule, Position(), 80)
    assert walk(schedule, whole[resumed_at].aligned(schedule), 80 - resumed_at) == whole[resumed_at:]


@given(schedules)
def test_after_its_last_full_step_an_epoch_is_over(schedule: Schedule) -> None:
    last = walk(schedule, Position(), schedule.steps_per_epoch)[-1]
    assert last == Position(step=schedule.steps_per_epoch, epoch=1, offset=0)


def test_a_larger_gang_begins_the_next_epoch_where_too_little_is_left() -> None:
    wider = Schedule(seed=0, training_size=20, batch_size=4, world_size=4)
    assert Position(step=2, epoch=0, offset=8).aligned(wider) == Position(step=2, epoch=1, offset=0)
    assert Position(step=1, epoch=0, offset=4).aligned(wider) == Position(step=1, epoch=0, offset=4)


def test_epochs_seeds_steps_and_ranks_differ() -> None:
    one = Schedule(seed=1, training_size=50, batch_size=1, world_size=1)
    two = Schedule(seed=2, training_size=50, batch_size=1, world_size=1)
    orders = {tuple(epoch_order(schedule, epoch)) for schedule in (one, two) for epoch in (0, 1)}
    assert len(orders) == 4
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(3) for rank in range(3)}
    assert len(seeds) == 27
    assert all(0 <= seed < 2**63 for seed in seeds)
