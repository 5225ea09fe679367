"""Tokens and rights that the API server judges: asked once, remembered for a moment, never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bones.clock import ManualClock
from bones.review_server import ReviewServer, review_server
from bones.token_maker import ISSUER, NOW, TokenMaker
from muster_kube.session import ApiSession
from muster_queue.identity import access
from muster_queue.identity.access import Access, Authorizer
from muster_queue.identity.authentication import Authenticator
from muster_queue.identity.caches import ExpiringCache
from muster_queue.identity.caller import Caller, account_namespace
from muster_queue.identity.errors import IdentityUnavailable, TooManyTokens, Unauthenticated
from muster_queue.identity.pace import Pace, Turnstile
from muster_queue.identity.token_review import TokenReviewer

ACCOUNT = "system:serviceaccount:team:runner"
ANN = Caller(name="ann")
CREATE = Access(verb="create", resource="aijobs", namespace="team")


@dataclass
class Desk:
    server: ReviewServer
    clock: ManualClock
    authenticator: Authenticator
    authorizer: Authorizer

    async def who(self, token: str) -> str:
        return (await self.authenticator.authenticate(token, "peer")).name


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock(datetime.fromtimestamp(NOW, UTC))
    async with review_server() as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        authenticator = Authenticator({ISSUER: Refusing()}, TokenReviewer(session, "muster"), clock)
        authorizer = Authorizer(session, clock)
        yield Desk(server, clock, authenticator, authorizer)
        await authenticator.close()
        await authorizer.close()


class Refusing:
    """The verifier of an issuer that believes nothing."""

    async def verify(self, token: str) -> Caller:
        raise Unauthenticated("no")


async def test_a_token_is_reviewed_once_a_minute(desk: Desk) -> None:
    desk.server.accounts["t"] = {"username": ACCOUNT}
    assert {await desk.who("t") for _ in range(10)} == {ACCOUNT}
    assert len(desk.server.asked("TokenReview")) == 1
    del desk.server.accounts["t"]
    desk.clock.advance(59)
    assert await desk.who("t") == ACCOUNT
    desk.clock.advance(2)
    with pytest.raises(Unauthenticated):
        await desk.who("t")


async def test_a_token_is_believed_no_longer_than_it_lasts(desk: Desk) -> None:
    token = TokenMaker().token(iss="https://kubernetes.default.svc", exp=NOW + 20)
    desk.server.accounts[token] = {"username": ACCOUNT}
    assert await desk.who(token) == ACCOUNT
    desk.clock.advance(21)
    await desk.who(token)
    assert len(desk.server.asked("TokenReview")) == 2


async def test_a_refusal_is_remembered_for_seconds(desk: Desk) -> None:
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await desk.who("t")
    assert len(desk.server.asked("TokenReview")) == 1
    desk.server.accounts["t"] = {"username": ACCOUNT}
    desk.clock.advance(6)
    assert await desk.who("t") == ACCOUNT


async def test_all_who_come_with_one_token_at_once_ask_once(desk: Desk) -> None:
    desk.server.accounts["t"] = {"username": ACCOUNT}
    assert await asyncio.gather(*(desk.who("t") for _ in range(50))) == [ACCOUNT] * 50
    assert len(desk.server.asked("TokenReview")) == 1


async def test_a_token_of_a_known_issuer_never_reaches_token_review(desk: Desk) -> None:
    token = TokenMaker().token()
    desk.server.accounts[token] = {"username": "system:admin"}
    with pytest.raises(Unauthenticated):
        await desk.who(token)
    assert desk.server.asked("TokenReview") == []


async def test_an_api_server_that_is_away_makes_nobody_known_and_is_asked_again(desk: Desk) -> None:
    desk.server.accounts["t"] = {"username": ACCOUNT}
    desk.server.is_away = True
    with pytest.raises(IdentityUnavailable):
        await desk.who("t")
    desk.server.is_away = False
    assert await desk.who("t") == ACCOUNT


async def test_reviews_are_paced_before_the_api_server_is_asked(desk: Desk) -> None:
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await desk.authenticator.authenticate(f"t{number}", f"peer{number}")
    with pytest.raises(TooManyTokens):
        await desk.authenticator.authenticate("one more", "another peer")
    assert len(desk.server.asked("TokenReview")) == 100
    desk.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await desk.authenticator.authenticate("one more", "another peer")


async def test_rights_are_asked_once_and_asked_again_beside_the_work(desk: Desk) -> None:
    desk.server.allow("ann", "create", namespace="team")
    assert all([await desk.authorizer.may(ANN, CREATE) for _ in range(10)])
    assert len(desk.server.reviews) == 1
    desk.clock.advance(6)
    assert await desk.authorizer.may(ANN, CREATE)
    desk.clock.advance(4.5)
    desk.server.rights.clear()
    await desk.authorizer.may(ANN, CREATE)
    desk.clock.advance(10)
    assert not await desk.authorizer.may(ANN, CREATE)


async def test_a_no_is_a_no_for_seconds_and_for_its_own_question(desk: Desk) -> None:
    desk.server.allow("ann", "create", namespace="other")
    assert not await desk.authorizer.may(ANN, CREATE)
    assert await desk.authorizer.may(ANN, Access(verb="create", resource="aijobs", namespace="other"))
    assert not await desk.authorizer.may(Caller(name="bob"), CREATE)
    desk.server.allow("ann", "create", namespace="team")
    assert not await desk.authorizer.may(ANN, CREATE)
    desk.clock.advance(4)
    assert await desk.authorizer.may(ANN, CREATE)


async def test_a_yes_outlives_the_api_server_for_a_minute(desk: Desk) -> None:
    desk.server.allow("ann", "create", namespace="team")
    assert await desk.authorizer.may(ANN, CREATE)
    desk.server.is_away = True
    desk.clock.advance(55)
    assert await desk.authorizer.may(ANN, CREATE)
    desk.clock.advance(6)
    with pytest.raises(IdentityUnavailable):
        await desk.authorizer.may(ANN, CREATE)
    with pytest.raises(IdentityUnavailable):
        await desk.authorizer.may(Caller(name="bob"), CREATE)


async def test_nobody_who_was_allowed_waits_for_an_api_server_that_hangs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "PATIENCE_SECONDS", 0.01)
    desk.server.allow("ann", "create", namespace="team")
    assert await desk.authorizer.may(ANN, CREATE)
    desk.server.answers.clear()
    desk.clock.advance(11)
    assert all([await desk.authorizer.may(ANN, CREATE) for _ in range(1000)])
    assert len(desk.server.reviews) <= 2
    desk.server.rights.clear()
    desk.server.answers.set()
    desk.clock.advance(50)
    assert not await desk.authorizer.may(ANN, CREATE)


async def test_everything_known_of_a_caller_is_told_to_rbac(desk: Desk) -> None:
    caller = Caller(name="ann", uid="u", groups=("g",), extra=(("scopes", ("a", "b")),))
    await desk.authorizer.may(caller, Access(verb="get", group="", resource="pods", subresource="log", namespace="n"))
    await desk.authorizer.may(caller, Access(verb="get", path="/metrics"))
    first, second = (review["spec"] for review in desk.server.reviews)
    assert first["extra"] == {"scopes": ["a", "b"]}
    assert first["resourceAttributes"] == {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "n"}
    assert second["nonResourceAttributes"] == {"verb": "get", "path": "/metrics"}


def test_caches_forget_the_least_used_first() -> None:
    cache: ExpiringCache[int, str] = ExpiringCache(2)
    for key in (1, 2):
        cache.put(key, "x", 10)
    cache.get(1, 0)
    cache.put(3, "x", 10)
    assert [cache.get(key, 0) for key in (1, 2, 3)] == ["x", None, "x"]
    assert cache.get(1, 10) is None


def test_each_peer_has_a_share_and_all_have_one_together() -> None:
    turnstile = Turnstile(Pace(rate=1, burst=2), Pace(rate=10, burst=3))
    assert [turnstile.wait_for("a", 0) for _ in range(2)] == [0, 0]
    assert turnstile.wait_for("a", 0) == 1
    assert turnstile.wait_for("b", 0) == 0
    assert turnstile.wait_for("b", 0) == pytest.approx(0.1)
    assert turnstile.wait_for("a", 1) == 0


@pytest.mark.parametrize(
    ("name", "namespace"),
    [(ACCOUNT, "team"), ("ann", "default"), ("system:serviceaccount:x", "default"), ("a:b:c", "default")],
)
def test_a_service_accounts_jobs_go_to_its_own_namespace(name: str, namespace: str) -> None:
    assert account_namespace(name) == namespace
