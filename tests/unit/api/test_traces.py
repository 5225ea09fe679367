"""Which `traceparent` is one, by https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import pytest

from muster_api.traces import read_traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"00-{TRACE}-{PARENT}-03", f"00-{TRACE}-{PARENT}-03"),
        (f"00-{TRACE}-{PARENT}-fd", GOOD),
        (f"cc-{TRACE}-{PARENT}-01", GOOD),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", GOOD),
    ],
)
def test_a_valid_one_is_handed_on_in_the_version_that_is_known(text: str, read: str) -> None:
    assert read_traceparent(text) == read


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"{GOOD}-more",
        f"{GOOD}\n",
        f" {GOOD}",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"cc-{TRACE}-{PARENT}-01-{'x' * 1000}",
        GOOD.replace("1", "١"),
    ],
)
def test_an_invalid_one_is_as_good_as_none(text: str | None) -> None:
    assert read_traceparent(text) is None
