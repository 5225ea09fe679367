"""What users may do to a job agrees with the one table of transitions."""

from __future__ import annotations

import pytest

from muster_api.phases import JobPhase
from muster_queue.identity.pace import Pace
from muster_queue.service.local_pace import LocalPace
from muster_queue.service.rules import CANCEL, DROP, HOLD, RELEASE, REQUEUE, RETRY, Rule, refusal
from muster_queue.storage.transitions import ENDED, is_legal

RULES = (CANCEL, HOLD, RELEASE, RETRY, REQUEUE, DROP)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.action)
def test_every_rule_is_a_legal_move(rule: Rule) -> None:
    assert all(is_legal(source, rule.target) for source in rule.allowed)


def test_what_has_ended_well_stays_so() -> None:
    assert all(JobPhase.SUCCEEDED not in rule.allowed and JobPhase.CANCELLED not in rule.allowed for rule in RULES)
    assert not CANCEL.allowed & ENDED


def test_a_refusal_says_what_could_be_done() -> None:
    text = refusal("release", JobPhase.QUEUED, RELEASE.allowed, "elsewhere")
    assert text == "the job is Queued; release is for jobs that are Held; elsewhere"


def test_a_tenant_alone_gets_its_burst_and_then_its_rate() -> None:
    pace = LocalPace(Pace(rate=10, burst=5))
    assert [pace.wait_for("a", 1, 100.0) for _ in range(5)] == [0.0] * 5
    assert pace.wait_for("a", 1, 100.0) == pytest.approx(0.1)
    assert pace.wait_for("b", 1, 100.0) == 0.0
    assert pace.wait_for("a", 1, 100.2) == 0.0


def test_a_call_dearer_than_the_burst_passes_when_the_bucket_is_full() -> None:
    pace = LocalPace(Pace(rate=10, burst=5))
    assert pace.wait_for("a", 20, 0.0) == 0.0
    assert pace.wait_for("a", 1, 1.0) == pytest.approx(0.6)
    assert pace.wait_for("a", 1, 1.7) == 0.0
