"""Run-length coded plans say what they were made from, and stay small."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_api.plans import Placement, PlanError, PlanRun, decode_plan, decode_slots, encode_plan, encode_slots

placements = st.builds(Placement, st.sampled_from(["a", "b.c", "d"]), st.sampled_from(["", "s1", "s2"]))


@given(st.dictionaries(st.integers(0, 99_999), placements, max_size=60))
def test_a_plan_is_read_back(plan: dict[int, Placement]) -> None:
    assert decode_plan(encode_plan(plan)) == plan


@given(st.sets(st.integers(0, 500)).filter(bool))
def test_slots_are_read_back_in_order(slots: set[int]) -> None:
    assert list(decode_slots(encode_slots(slots))) == sorted(slots)


def test_ten_thousand_members_fit_into_one_object() -> None:
    plan = {slot: Placement(f"node-{slot // 8:04}.rack-17.example.internal", "0123456789ab") for slot in range(10_000)}
    assert len(msgspec.json.encode(encode_plan(plan))) < 250_000


@pytest.mark.parametrize("slots", ["", "a", "1-", "-1", "1-b", "0-9999999", "1,,2", "99999999999999999999"])
def test_nonsense_is_refused(slots: str) -> None:
    with pytest.raises(PlanError):
        decode_plan([PlanRun("a", slots)])


def test_a_slot_planned_twice_is_refused() -> None:
    with pytest.raises(PlanError, match="slot 2 is planned twice"):
        decode_plan([PlanRun("a", "0-2"), PlanRun("b", "2-3")])


def test_a_plan_too_large_to_be_ours_is_refused_at_once() -> None:
    runs = [PlanRun(f"n{number}", f"{number * 100_000}-{number * 100_000 + 99_999}") for number in range(50)]
    with pytest.raises(PlanError, match="more than 200000 slots"):
        decode_plan(runs)
