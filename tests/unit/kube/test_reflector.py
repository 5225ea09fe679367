"""How the reflector takes answers that a real API server gives seldom."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bones.scripted_api_server import (
    Answer,
    ScriptedApiServer,
    bookmark,
    event,
    gone,
    refuses,
    says,
    scripted,
    streams,
)
from muster_api.objects import KubernetesStruct, ObjectMeta
from muster_kube.reflector import Reflector, ReflectorSettings
from muster_kube.resources import ResourcePath
from muster_kube.session import ApiSession

THINGS = ResourcePath("example.com", "v1", "things")
QUICK = ReflectorSettings(first_delay=0.01, longest_delay=0.05)


class Thing(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    size: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)


@asynccontextmanager
async def following(
    folder: Path, *script: Answer, settings: ReflectorSettings = QUICK
) -> AsyncIterator[tuple[Reflector[Thing], ScriptedApiServer]]:
    async with scripted(*script) as server, await ApiSession.connect(server.write_kubeconfig(folder)) as session:
        reflector = Reflector(session, THINGS, Thing, settings=settings)
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector, server
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def names(reflector: Reflector[Thing]) -> set[str]:
    return {name for _, name in reflector.store}


def page(version: int, *names: str, more: str = "") -> Answer:
    items = [event("ADDED", name, version)["object"] for name in names]
    return says(200, {"metadata": {"resourceVersion": str(version), "continue": more}, "items": items})


async def test_streamed_state_counts_only_once_it_is_whole(tmp_path: Path) -> None:
    first = streams(event("ADDED", "a", 1), bookmark(1), stays_open=False)
    second = streams(event("ADDED", "a", 1), event("ADDED", "b", 2), bookmark(2, ends_initial=True))
    async with following(tmp_path, first, second) as (reflector, server):
        assert reflector.staleness() == math.inf
        await until(reflector.synced.is_set)
        assert names(reflector) == {"a", "b"}
        assert all("resourceVersion" not in query for query in server.queries())
        assert reflector.staleness() < 5


async def test_refused_streaming_falls_back_to_pages(tmp_path: Path) -> None:
    refused = refuses(422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList gate is enabled")
    script = (refused, page(5, "a", more="token"), page(5, "b"), streams(event("ADDED", "c", 6)))
    async with following(tmp_path, *script) as (reflector, server):
        await until(lambda: names(reflector) == {"a", "b", "c"})
        assert [query.get("continue") for query in server.queries()] == [None, None, "token", None]
        assert server.queries()[-1]["resourceVersion"] == "5"


async def test_expired_continue_token_restarts_the_list(tmp_path: Path) -> None:
    settings = ReflectorSettings(watch_list=False, first_delay=0.01)
    script = (
        page(5, "a", more="token"),
        refuses(410, "Expired"),
        page(7, "b", more="next"),
        page(7, "c"),
    )
    async with following(tmp_path, *script, settings=settings) as (reflector, _):
        await until(reflector.synced.is_set)
        assert names(reflector) == {"b", "c"}


@pytest.mark.parametrize(
    "loss", [streams(gone()), refuses(410, "Expired")], ids=["inside the stream", "as HTTP status"]
)
async def test_lost_history_is_listed_again(loss: Answer, tmp_path: Path) -> None:
    deleted: list[str] = []
    script = (
        streams(event("ADDED", "a", 1), event("ADDED", "b", 1), bookmark(1, ends_initial=True), stays_open=False),
        loss,
        streams(event("ADDED", "b", 9), bookmark(9, ends_initial=True)),
    )
    async with following(tmp_path, *script) as (reflector, server):
        reflector.subscribe(deleted=lambda thing: deleted.append(thing.metadata.name))
        await until(lambda: reflector.statistics.lists == 2)
        assert names(reflector) == {"b"}
        assert deleted == ["a"]
        assert [query.get("resourceVersion") for query in server.queries()] == [None, "1", None]


async def test_watch_resumes_from_a_bookmark(tmp_path: Path) -> None:
    script = (streams(bookmark(1, ends_initial=True), bookmark(77), stays_open=False), streams())
    async with following(tmp_path, *script) as (_, server):
        await until(lambda: len(server.requests) == 2)
        assert server.queries()[1]["resourceVersion"] == "77"


async def test_undecodable_object_is_skipped_and_spoils_nothing(tmp_path: Path) -> None:
    script = (
        streams(
            event("ADDED", "good", 1, size=1),
            event("ADDED", "bad", 2, size="huge"),
            bookmark(2, ends_initial=True),
            event("MODIFIED", "good", 3, size="huge"),
            event("ADDED", "better", 4, size=4),
            stays_open=False,
        ),
        streams(),
    )
    async with following(tmp_path, *script) as (reflector, server):
        await until(lambda: len(server.requests) == 2)
        assert names(reflector) == {"good", "better"}
        assert reflector.store["ns", "good"].size == 1, "it stays as it was known before"
        assert reflector.statistics.undecodable == 2
        assert server.queries()[1]["resourceVersion"] == "4"


async def test_an_event_too_deep_to_be_read_is_left_out_alone(tmp_path: Path) -> None:
    depth = 2 * sys.getrecursionlimit()
    deep = b'{"type":"ADDED","object":{"metadata":{"name":"deep"},"x":' + b"[" * depth + b"]" * depth + b"}}\n"
    script = (streams(bookmark(1, ends_initial=True), deep, event("ADDED", "good", 3)),)
    async with following(tmp_path, *script) as (reflector, _):
        await until(lambda: reflector.resource_version == "3")
        assert names(reflector) == {"good"}
        assert reflector.statistics.failures == 0


async def test_undecodable_object_survives_a_new_list_as_it_was_known(tmp_path: Path) -> None:
    script = (
        streams(event("ADDED", "a", 1, size=1), bookmark(1, ends_initial=True), gone()),
        streams(event("ADDED", "a", 2, size="huge"), bookmark(2, ends_initial=True)),
    )
    async with following(tmp_path, *script) as (reflector, _):
        await until(lambda: reflector.statistics.lists == 2)
        assert reflector.store["ns", "a"].size == 1


async def test_broken_line_costs_a_reconnect_only(tmp_path: Path) -> None:
    script = (
        streams(event("ADDED", "a", 1), bookmark(1, ends_initial=True), b'{"type": "ADD\n'),
        streams(event("ADDED", "b", 2)),
    )
    async with following(tmp_path, *script) as (reflector, _):
        await until(lambda: names(reflector) == {"a", "b"})


async def test_watches_that_end_at_once_in_silence_mean_a_new_list(tmp_path: Path) -> None:
    silent = streams(stays_open=False)
    script = (
        streams(bookmark(1, ends_initial=True), stays_open=False),
        silent,
        silent,
        silent,
        streams(event("ADDED", "a", 2), bookmark(2, ends_initial=True)),
    )
    async with following(tmp_path, *script) as (reflector, _):
        await until(lambda: names(reflector) == {"a"})


async def test_connections_that_bring_news_do_not_lengthen_the_delay(tmp_path: Path) -> None:
    settings = ReflectorSettings(first_delay=0.05, longest_delay=30.0)
    cut_soon = [streams(event("MODIFIED", "a", version), b"{broken\n") for version in range(2, 10)]
    script = (streams(event("ADDED", "a", 1), bookmark(1, ends_initial=True), b"{broken\n"), *cut_soon)
    async with following(tmp_path, *script, settings=settings) as (reflector, _):
        await until(lambda: reflector.resource_version == "9", seconds=3)


async def test_history_that_is_always_gone_is_not_listed_in_a_tight_loop(tmp_path: Path) -> None:
    settings = ReflectorSettings(first_delay=0.2)
    script = [streams(bookmark(1, ends_initial=True), gone()) for _ in range(50)]
    async with following(tmp_path, *script, settings=settings) as (reflector, _):
        await reflector.synced.wait()
        await asyncio.sleep(0.5)
        assert 2 <= reflector.statistics.lists <= 5


async def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    script = (refuses(429, "TooManyRequests", **{"Retry-After": "1"}), streams(bookmark(1, ends_initial=True)))
    started = time.monotonic()
    async with following(tmp_path, *script) as (reflector, _):
        await until(reflector.synced.is_set)
    assert time.monotonic() - started >= 1


async def test_resource_that_is_missing_for_a_while_is_waited_for(tmp_path: Path) -> None:
    missing = refuses(404, "NotFound", "the server could not find the requested resource")
    async with following(tmp_path, missing, missing, streams(bookmark(1, ends_initial=True))) as (reflector, _):
        await until(reflector.synced.is_set)


async def test_silent_stream_while_listing_falls_back_to_pages(tmp_path: Path) -> None:
    settings = ReflectorSettings(idle_timeout=0.05, first_delay=0.01, longest_delay=0.02)
    script = (streams(), streams(), streams(), page(3, "a"))
    async with following(tmp_path, *script, settings=settings) as (reflector, _):
        await until(reflector.synced.is_set)
        assert names(reflector) == {"a"}


def raise_what_the_wire_could_raise(thing: Thing) -> None:
    msgspec.json.decode(b"not json")


async def test_bug_in_a_subscriber_ends_the_task(tmp_path: Path) -> None:
    state = streams(event("ADDED", "a", 1), bookmark(1, ends_initial=True))
    async with scripted(state) as server, await ApiSession.connect(server.write_kubeconfig(tmp_path)) as session:
        reflector = Reflector(session, THINGS, Thing, settings=QUICK)
        reflector.subscribe(added=raise_what_the_wire_could_raise)
        with pytest.raises(msgspec.DecodeError):
            await asyncio.wait_for(reflector.run(), 5)


async def test_loop_stays_responsive_while_a_large_state_is_decoded(tmp_path: Path) -> None:
    many = [json.dumps(event("ADDED", f"thing-{number}", number, size=number)) for number in range(20_000)]
    state = "\n".join([*many, ""]).encode()
    worst = 0.0
    async with following(tmp_path, streams(state, bookmark(20_000, ends_initial=True))) as (reflector, _):
        last = time.thread_time()
        while not reflector.synced.is_set():
            await asyncio.sleep(0)
            worst, last = max(worst, time.thread_time() - last), time.thread_time()
    assert len(reflector.store) == 20_000
    assert worst < 0.1, "CPU time between two turns of the loop, the scripted server's share included"
