"""A gang's account is opened by its first look, gets its share of every plan and is closed by its commit."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Histogram

from muster_api.gangs import Gang, GangStatus
from muster_api.phases import GangPhase
from muster_queue.controller.groups import Group
from muster_queue.controller.leader_time import LeaderTime

KEY = ("team", "pods-a")


@pytest.fixture
def histogram() -> Histogram:
    return Histogram("leader", "Of a test.", registry=CollectorRegistry())


def group(phase: GangPhase | None) -> Group:
    made = Group(KEY)
    if phase is not None:
        made.see_gang(msgspec.structs.replace(Gang(), status=GangStatus(phase=phase, epoch="1-1")))
    return made


def total(histogram: Histogram) -> tuple[float, float]:
    samples = {sample.name: sample.value for sample in histogram.collect()[0].samples if not sample.labels}
    return samples["leader_count"], round(samples["leader_sum"], 6)


def test_looks_and_shares_of_plans_are_added_up_until_the_commit(histogram: Histogram) -> None:
    account = LeaderTime(histogram)
    account.looked(group(None), 0.001)
    account.looked(group(GangPhase.PENDING), 0.002)
    account.planned([KEY, ("team", "pods-b"), "uid-of-a-single"], 0.03)
    assert total(histogram) == (0, 0)
    account.looked(group(GangPhase.COMMITTED), 0.5)
    account.looked(group(GangPhase.RUNNING), 0.5)
    assert total(histogram) == (1, 0.013)


def test_gangs_that_were_committed_before_are_not_counted(histogram: Histogram) -> None:
    account = LeaderTime(histogram)
    account.looked(group(GangPhase.RUNNING), 0.5)
    assert total(histogram) == (0, 0)


def test_a_gang_that_is_gone_is_forgotten(histogram: Histogram) -> None:
    account = LeaderTime(histogram)
    account.looked(group(GangPhase.PENDING), 0.5)
    account.forget(KEY)
    account.looked(group(GangPhase.COMMITTED), 0.5)
    assert total(histogram) == (0, 0)
