"""A certificate is replaced without a moment in which somebody who follows caBundle does not trust it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from muster_kube.certificates import bundle, is_issued_by
from muster_webhook.rotation import (
    Material,
    RotationPolicy,
    Step,
    next_step,
    read_material,
    take,
    written_material,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = RotationPolicy(("muster-webhook.muster-system.svc", "127.0.0.1"), 90 * DAY, timedelta(minutes=5))


def advance(material: Material, now: datetime) -> tuple[Step, Material]:
    step = next_step(material, POLICY, now)
    return step, take(step, material, POLICY, now)


@pytest.fixture
def issued() -> Material:
    return advance(Material(), START)[1]


def test_an_empty_secret_is_filled_at_once() -> None:
    step, material = advance(Material(), START)
    assert step is Step.ISSUE
    assert material.current.is_complete
    assert next_step(material, POLICY, START) is Step.KEEP


def test_a_young_certificate_stays(issued: Material) -> None:
    assert next_step(issued, POLICY, START + 50 * DAY) is Step.KEEP


def test_a_successor_is_announced_before_it_takes_over(issued: Material) -> None:
    late = START + 61 * DAY
    step, announced = advance(issued, late)
    assert step is Step.ANNOUNCE
    assert announced.current == issued.current
    assert next_step(announced, POLICY, late + timedelta(minutes=4)) is Step.KEEP
    step, switched = advance(announced, late + timedelta(minutes=5))
    assert step is Step.SWITCH
    assert switched.current == announced.following
    assert next_step(switched, POLICY, late + timedelta(minutes=6)) is Step.KEEP


def test_at_every_moment_both_old_and_new_are_trusted_around_the_switch(issued: Material) -> None:
    late = START + 61 * DAY
    announced = advance(issued, late)[1]
    switched = advance(announced, late + timedelta(minutes=5))[1]
    for material in (announced, switched):
        trusted = material.trusted(late)
        assert issued.current.authority.strip() in trusted
        assert announced.following.authority.strip() in trusted


def test_an_authority_is_forgotten_once_it_has_expired(issued: Material) -> None:
    assert issued.trusted(START + 200 * DAY) == b""


def test_an_expired_certificate_is_replaced_at_once(issued: Material) -> None:
    step, material = advance(issued, START + 91 * DAY)
    assert step is Step.ISSUE
    assert material.current != issued.current
    assert material.previous_authority == issued.current.authority


def test_a_new_name_is_a_reason_for_a_new_certificate(issued: Material) -> None:
    more = RotationPolicy((*POLICY.names, "other.example"), POLICY.lifetime, POLICY.overlap)
    assert next_step(issued, more, START) is Step.ANNOUNCE


def test_the_key_of_the_authority_is_kept_nowhere(issued: Material) -> None:
    assert is_issued_by(issued.current.certificate, issued.current.authority)
    assert sorted(written_material(issued)) == ["ca.crt", "tls.crt", "tls.key"]


def test_what_is_written_is_read_again(issued: Material) -> None:
    announced = advance(issued, START + 61 * DAY)[1]
    assert read_material(written_material(announced)) == announced


@pytest.mark.parametrize(
    "data",
    [
        {"ca.crt": "%%%", "tls.crt": "", "tls.key": ""},
        {"ca.crt": "aGVsbG8=", "tls.crt": "aGVsbG8=", "tls.key": "aGVsbG8="},
        {"tls.crt": "ä"},
    ],
    ids=["no base64", "no certificates", "no ASCII"],
)
def test_a_spoilt_secret_is_replaced(data: dict[str, str]) -> None:
    step, material = advance(read_material(data), START)
    assert step is Step.ISSUE
    assert bundle([material.current.authority], START) == material.trusted(START)
