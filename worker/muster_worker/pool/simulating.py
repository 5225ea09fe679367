"""Simulation for a pool: the Monte Carlo estimate of pi, in seeded rounds that each report how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from muster_worker.options import SimulationOptions
from muster_worker.pool.handlers import Report, options_of
from muster_worker.simulation import estimate_of_pi


def simulate(config: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The same seed gives the same estimate on every worker."""
    options = options_of(SimulationOptions, config)
    random = np.random.default_rng((options.seed, 0))
    inside = samples = 0
    for number in range(1, options.rounds + 1):
        points = random.random((options.samples_per_round, 2))
        inside += int(np.count_nonzero((points * points).sum(axis=1) <= 1.0))
        samples += options.samples_per_round
        report.progress(number / options.rounds)
        if options.step_delay_ms:
            report.idle(options.step_delay_ms / 1000)
    return {"rounds": options.rounds, **estimate_of_pi(inside, samples)}
