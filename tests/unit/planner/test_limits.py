"""Limits that gangs share: never broken by one plan, and told with their numbers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bones.planning import cluster, gang, members, only_explanation, planner_node
from muster_api.reasons import Reason
from muster_planner.limits import Charge, Limit, LimitKey
from muster_planner.planning import plan
from muster_planner.policy import DEFAULT_POLICY
from muster_planner.request import GangRequest
from muster_planner.reservation import Plan

JOBS: LimitKey = ("queue-jobs", "team", "q")
GPUS: LimitKey = ("cluster-gpus", "", "c")


def charged(name: str, gpus: int = 1, **changes: int) -> GangRequest:
    charges = (Charge(JOBS, 1), Charge(GPUS, each=gpus))
    return replace(gang(name, members(1, gpus=gpus), priority=changes.pop("priority", 50)), charges=charges)


def planned(*requests: GangRequest, jobs: int = 1000, gpus: int = 1000, used: int = 0) -> Plan:
    limits = {
        JOBS: Limit(jobs, used, "queue q", "jobs at once", Reason.QUEUE_LIMIT),
        GPUS: Limit(gpus, 0, "cluster c", "GPUs at once", Reason.CLUSTER_LIMIT),
    }
    return plan(cluster([planner_node("n", gpus=64)]), requests, DEFAULT_POLICY, 0.0, limits)


def test_the_better_job_takes_what_the_queue_allows_and_the_other_is_told_the_numbers() -> None:
    made = planned(charged("low", priority=20), charged("high", priority=80), jobs=3, used=2)
    assert [reservation.key[1] for reservation in made.reservations] == ["high"]
    told = only_explanation(made)
    assert (told.key[1], told.reason, told.permanent) == ("low", Reason.QUEUE_LIMIT, False)
    assert told.message == "queue q allows 3 jobs at once and 3 are taken; this job needs 1"


def test_a_job_above_a_limit_lets_smaller_ones_pass() -> None:
    made = planned(charged("large", gpus=8, priority=80), charged("small", gpus=2), gpus=4)
    assert [reservation.key[1] for reservation in made.reservations] == ["small"]
    told = only_explanation(made)
    assert (told.reason, told.permanent) == (Reason.CLUSTER_LIMIT, True)
    assert told.message == "cluster c allows 4 GPUs at once and this job needs 8"


def test_who_is_charged_with_nothing_is_not_limited() -> None:
    made = planned(gang("free", members(1)), jobs=0)
    assert [reservation.key[1] for reservation in made.reservations] == ["free"]


def test_an_elastic_gang_gets_as_many_members_as_the_limit_leaves() -> None:
    elastic = replace(gang("elastic", members(8, gpus=1), minimum=2), charges=(Charge(JOBS, 1), Charge(GPUS, each=1)))
    made = planned(elastic, charged("next", gpus=1, priority=20), gpus=5)
    assert [sum(len(list(r.places())) for r in made.reservations)] == [5]
    assert only_explanation(made).key[1] == "next"


def test_an_elastic_gang_waits_for_its_minimum_alone() -> None:
    elastic = replace(gang("elastic", members(8, gpus=1), minimum=4), charges=(Charge(GPUS, each=1),))
    assert only_explanation(planned(elastic, gpus=3)).message == "cluster c allows 3 GPUs at once and this job needs 4"


@given(sizes=st.lists(st.integers(1, 8), max_size=12), jobs=st.integers(0, 6), gpus=st.integers(0, 24))
def test_no_plan_breaks_a_limit(sizes: list[int], jobs: int, gpus: int) -> None:
    made = planned(*(charged(f"g{number}", size) for number, size in enumerate(sizes)), jobs=jobs, gpus=gpus)
    given_out = sum(sizes[int(reservation.key[1][1:])] for reservation in made.reservations)
    assert len(made.reservations) <= jobs
    assert given_out <= gpus
    assert len(made.reservations) + len(made.explanations) == len(sizes)
