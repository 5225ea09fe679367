"""Whom a lease belongs to: no two kinds of callers share a name."""

from __future__ import annotations

from muster_queue.dispatch.mirroring import HOLDER
from muster_queue.identity.caller import Caller
from muster_queue.rest.pool_handlers import holder_of


def holder(user: str) -> str:
    return holder_of(Caller(name=user, namespace="default"), "w")


def test_an_account_is_no_user_and_no_gang_of_pods() -> None:
    assert holder("system:serviceaccount:team-a:runner") == "account/team-a/runner/w"
    assert holder("system:serviceaccount:user:ann") != holder("ann")
    assert not holder(f"system:serviceaccount:{HOLDER}:runner").startswith(f"{HOLDER}/")
