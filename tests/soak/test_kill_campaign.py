"""Kills every process at every step of a release, over and over: in the end the gang is whole, at rest never in part.

A failpoint stops a process right at the moment; then the victim gets its SIGKILL, and everything goes on. Settings:
MUSTER_SOAK_ROUNDS (5), MUSTER_SOAK_SIZE (200), MUSTER_SOAK_SEED.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bones.control_plane import Faults
from bones.judging import JudgeProcess
from bones.stage import Stage, bound, phase_of
from bones.telling import tell
from muster_local.cluster import Cluster

ROUNDS = int(os.environ.get("MUSTER_SOAK_ROUNDS", "5"))
SIZE = int(os.environ.get("MUSTER_SOAK_SIZE", "200"))
SEED = os.environ.get("MUSTER_SOAK_SEED", "muster")
GPUS_PER_NODE = 8
WHOLE_SECONDS = 180

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(ROUNDS * (WHOLE_SECONDS + 120))]

VICTIMS = ("extender", "kube-scheduler", "controller")
MOMENTS = {
    "none parked": ("controller", "controller.reserve.after", "first"),
    "some tickets sent": ("controller", "controller.release.ticket", "some"),
    "all tickets sent": ("controller", "controller.release.before-released", "first"),
    "some parked": ("extender", "extender.park", "some"),
    "all parked": ("extender", "extender.park", "all"),
    "committed": ("extender", "extender.commit.after", "first"),
    "some bindings posted": ("extender", "extender.bind.posted", "some"),
}
"""Who is stopped where, and at which of its hits."""


@dataclass(frozen=True)
class Round:
    """What one kill did."""

    victim: str
    moment: str
    bound_at_kill: int
    phase_at_kill: str
    recovery_seconds: float
    partial_seconds: float
    standstill_seconds: float


@pytest.fixture(scope="module")
def rounds() -> Iterator[list[Round]]:
    """All rounds of the campaign, told as a table when it is over."""
    done: list[Round] = []
    yield done
    tell(_table(done))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_gang_is_whole_after_a_kill(
    victim: str,
    moment: str,
    cluster: Cluster,
    stage: Stage,
    rounds: list[Round],
    tmp_path: Path,
) -> None:
    stage.add_nodes(-(-SIZE // GPUS_PER_NODE), gpus=GPUS_PER_NODE)
    for number in range(ROUNDS):
        chance = random.Random(f"{SEED} {victim} {moment} {number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        faults = Faults(cluster, folder / "failpoints.log")
        try:
            one = _kill_once(cluster, stage, faults, victim, moment, chance, folder)
        finally:
            faults.heal()
        rounds.append(one)
        tell(_line(one))
        stage.clear()


def _kill_once(
    cluster: Cluster,
    stage: Stage,
    faults: Faults,
    victim: str,
    moment: str,
    chance: random.Random,
    folder: Path,
) -> Round:
    stopped, failpoint, which = MOMENTS[moment]
    hit = {"first": 1, "some": chance.randint(2, SIZE - 1), "all": SIZE}[which]
    faults.arm(stopped, f"{failpoint}@{hit}=pause")
    with JudgeProcess(cluster.kubeconfig(), folder) as judge:
        stage.kube.create_all(stage.gang_pods("soak", SIZE), parallel=8)
        faults.wait_paused(stopped, timeout=120)
        faults.kill(victim)
        killed = time.monotonic()
        bound_then, phase_then = len(bound(stage.pods("soak"))), phase_of(stage.gang("soak"))
        if victim != stopped:
            faults.resume(stopped)
        faults.start(victim)
        stage.wait_bound("soak", SIZE, timeout=WHOLE_SECONDS)
        recovered = time.monotonic() - killed
        stage.wait_phase("soak", "Running", timeout=WHOLE_SECONDS)
        report = judge.verdict()
    gang = report["gangs"][f"{stage.namespace}/soak"]
    assert gang["bound"] == SIZE
    return Round(
        victim=victim,
        moment=f"{moment} ({hit})" if which == "some" else moment,
        bound_at_kill=bound_then,
        phase_at_kill=phase_then,
        recovery_seconds=recovered,
        partial_seconds=gang["longest_partial_seconds"],
        standstill_seconds=gang["longest_standstill_seconds"],
    )


def _line(one: Round) -> str:
    return (
        f"{one.victim:15} {one.moment:28} {one.phase_at_kill:10} {one.bound_at_kill:5} bound, whole after "
        f"{one.recovery_seconds:6.1f} s, partial {one.partial_seconds:5.1f} s, "
        f"standstill {one.standstill_seconds:5.1f} s"
    )


def _table(rounds: list[Round]) -> str:
    if not rounds:
        return "no rounds"
    worst = max(rounds, key=lambda one: one.standstill_seconds)
    slowest = max(rounds, key=lambda one: one.recovery_seconds)
    return "\n".join(
        [
            "",
            f"{len(rounds)} kills in the release of gangs of {SIZE}",
            *map(_line, rounds),
            f"longest standstill {worst.standstill_seconds:.1f} s: {worst.victim}, {worst.moment}",
            f"slowest recovery {slowest.recovery_seconds:.1f} s: {slowest.victim}, {slowest.moment}",
        ]
    )
