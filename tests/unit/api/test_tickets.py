"""Tickets cannot be forged, moved or stretched, and nonsense is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_api.tickets import Epoch, Ticket, TicketError, parse, parse_epoch, sign, single_gang, verify

KEY, OLD_KEY = b"k" * 32, b"o" * 32
TICKET = Ticket("abcdefghijklmnop", Epoch(3, 1), 7, "ip-10-0-0-1.ec2.internal")

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?){0,3}", fullmatch=True)
tickets = st.builds(
    Ticket,
    st.from_regex(r"[a-z2-7]{16}|pod-[0-9a-f-]{36}", fullmatch=True),
    st.builds(Epoch, st.integers(0, 999_999_999), st.integers(0, 999_999_999)),
    st.integers(0, 99_999),
    names,
)


@given(tickets, names)
def test_what_was_signed_is_read_back(ticket: Ticket, namespace: str) -> None:
    assert verify([KEY], namespace, sign(KEY, namespace, ticket)) == ticket


def test_the_previous_key_still_opens_during_rotation() -> None:
    assert verify([KEY, OLD_KEY], "team", sign(OLD_KEY, "team", TICKET)) == TICKET


@pytest.mark.parametrize(
    ("namespace", "key"), [("other", KEY), ("team", b"x" * 32)], ids=["another namespace", "another key"]
)
def test_a_ticket_opens_nowhere_else(namespace: str, key: bytes) -> None:
    with pytest.raises(TicketError, match="not ours"):
        verify([key], namespace, sign(KEY, "team", TICKET))


@given(tickets, tickets)
def test_a_signature_does_not_fit_another_ticket(signed: Ticket, wanted: Ticket) -> None:
    mac = sign(KEY, "team", signed).rpartition(".")[2]
    forged = f"{sign(KEY, 'team', wanted).rpartition('.')[0]}.{mac}"
    if signed != wanted:
        with pytest.raises(TicketError):
            verify([KEY], "team", forged)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "v1.....",
        "v2.abc.1-1.0.node." + "m" * 43,
        "v1..1-1.0.node." + "m" * 43,
        "v1.abc.1.0.node." + "m" * 43,
        "v1.abc.1-x.0.node." + "m" * 43,
        "v1.abc.-1-1.0.node." + "m" * 43,
        "v1.abc.1-1.-1.node." + "m" * 43,
        "v1.abc.1-1.0.." + "m" * 43,
        "v1.abc.1-1.0.node." + "m" * 42,
        "v1.abc.1-1.²." + "m" * 43,
        "v1.abc.1-1.0.node." + "é" * 43,
        "v1.abc.9999999999-1.0.node." + "m" * 43,
        "v1." + "a" * 600,
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(TicketError):
        parse(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(TicketError):
        verify([KEY], "team", text)


def test_epochs_are_ordered_by_term_then_count() -> None:
    assert parse_epoch("1-9") < parse_epoch("2-0") < parse_epoch("2-1")
    assert Epoch(2, 5).next() == Epoch(2, 6)
    assert Epoch(2, 5).next(term=4) == Epoch(4, 6)


def test_a_single_pod_is_told_by_its_gang_id() -> None:
    assert Ticket(single_gang("uid"), Epoch(1, 1), 0, "node").is_single
    assert not TICKET.is_single
