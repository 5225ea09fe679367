"""Simulation: random points in a square; the share inside the circle tells pi, the better the more points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from muster_worker.options import SimulationOptions
from muster_worker.workplace import Workplace


def simulate(options: SimulationOptions, workplace: Workplace) -> dict[str, Any]:
    """Each member has random numbers of its own, so that their estimates can be averaged."""
    random = np.random.default_rng((options.seed, workplace.place.rank))
    inside = samples = 0
    for number in range(1, options.rounds + 1):
        points = random.random((options.samples_per_round, 2))
        inside += int(np.count_nonzero((points * points).sum(axis=1) <= 1.0))
        samples += options.samples_per_round
        workplace.log.info("round", round=number, **estimate_of_pi(inside, samples))
        workplace.termination.idle(options.step_delay_ms / 1000)
    return estimate_of_pi(inside, samples)


def estimate_of_pi(inside: int, samples: int) -> dict[str, float]:
    """The estimate, how far it lies from pi, and how far it may be expected to lie."""
    share = inside / samples
    return {
        "samples": samples,
        "estimate": round(4 * share, 9),
        "error": round(abs(4 * share - math.pi), 9),
        "standard_error": round(4 * math.sqrt(share * (1 - share) / samples), 9),
    }
