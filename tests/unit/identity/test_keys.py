"""An issuer's keys: rotated, away, slow, lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bones.clock import ManualClock
from bones.token_maker import TokenMaker, issuer_settings
from muster_queue.identity.errors import IdentityUnavailable, Unauthenticated
from muster_queue.identity.keys import KeyRing, keys_of
from muster_queue.identity.settings import Algorithm

OLD, NEW = TokenMaker(kid="old"), TokenMaker(kid="new")


class Issuer:
    """Gives its document, or fails, and counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = OLD.document()
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> bytes:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def ring(issuer: Issuer, clock: ManualClock) -> KeyRing:
    return KeyRing("issuer", issuer.fetch, clock)


async def old(ring: KeyRing) -> Any:
    return await ring.key("old-EdDSA", Algorithm.EDDSA)


async def new(ring: KeyRing) -> Any:
    return await ring.key("new-EdDSA", Algorithm.EDDSA)


async def test_made_up_key_ids_bother_the_issuer_once_in_half_a_minute(
    ring: KeyRing, issuer: Issuer, clock: ManualClock
) -> None:
    await old(ring)
    clock.advance(30)
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await ring.key(f"made-up-{number}", Algorithm.EDDSA)
    assert issuer.asked == 2


async def test_a_rotated_key_is_found_when_its_first_token_comes(
    ring: KeyRing, issuer: Issuer, clock: ManualClock
) -> None:
    await old(ring)
    issuer.answer = NEW.document()
    with pytest.raises(Unauthenticated):
        await new(ring)
    clock.advance(30)
    assert await new(ring)
    with pytest.raises(Unauthenticated):
        await old(ring)


async def test_keys_outlive_an_issuer_that_is_away_for_a_while_only(
    ring: KeyRing, issuer: Issuer, clock: ManualClock
) -> None:
    await old(ring)
    issuer.answer = OSError("away")
    for _ in range(11):
        clock.advance(300)
        assert await old(ring)
    clock.advance(301)
    with pytest.raises(IdentityUnavailable):
        await old(ring)
    issuer.answer = OLD.document()
    clock.advance(30)
    assert await old(ring)


async def test_a_slow_issuer_holds_nobody_up_whose_key_is_known(
    ring: KeyRing, issuer: Issuer, clock: ManualClock
) -> None:
    await old(ring)
    clock.advance(301)
    issuer.gate.clear()
    assert await old(ring)
    issuer.gate.set()
    await ring.close()


async def test_all_who_wait_for_the_first_keys_ask_once(ring: KeyRing, issuer: Issuer) -> None:
    issuer.gate.clear()
    waiting = [asyncio.create_task(old(ring)) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    issuer.gate.set()
    assert all(await asyncio.gather(*waiting[1:]))
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [' + b"{}," * 100 + b"{}]}", b"[" * 9999]
)
async def test_a_document_that_is_none_leaves_the_keys_as_they_are(
    ring: KeyRing, issuer: Issuer, clock: ManualClock, answer: bytes
) -> None:
    await old(ring)
    issuer.answer = answer
    clock.advance(301)
    await old(ring)
    await asyncio.sleep(0)
    assert await old(ring)


async def test_without_any_keys_nobody_can_tell(ring: KeyRing, issuer: Issuer, clock: ManualClock) -> None:
    issuer.answer = TimeoutError()
    with pytest.raises(IdentityUnavailable):
        await old(ring)
    issuer.answer = OLD.document()
    clock.advance(2)
    assert await old(ring)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{tail:.*}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    finally:
        await runner.cleanup()


async def test_documents_come_over_http_and_from_files(tmp_path: Path) -> None:
    async def give(request: web.Request) -> web.Response:
        return web.Response(body=OLD.document())

    async with serving(give) as url:
        assert await keys_of(issuer_settings(url))() == OLD.document()
    (tmp_path / "keys").write_bytes(OLD.document())
    assert await keys_of(issuer_settings(str(tmp_path / "keys")))() == OLD.document()


async def test_answers_that_lead_elsewhere_or_never_end_are_refused(tmp_path: Path) -> None:
    async def lead_away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:1/")

    async def never_end(request: web.Request) -> web.Response:
        return web.Response(body=b" " * (300 << 10))

    for handler in (lead_away, never_end):
        async with serving(handler) as url:
            with pytest.raises(ValueError, match=r"302|larger"):
                await keys_of(issuer_settings(url))()
    (tmp_path / "keys").write_bytes(b" " * (300 << 10))
    with pytest.raises(ValueError, match="larger"):
        await keys_of(issuer_settings(str(tmp_path / "keys")))()
