"""The reflector against a real API server, through every fault that a watch can suffer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from bones.tcp_fault_proxy import Direction, FaultProxy, Faults
from muster_api.objects import KubernetesStruct, ObjectMeta
from muster_kube.reflector import Reflector, ReflectorSettings
from muster_kube.resources import ResourcePath
from muster_kube.session import ApiSession
from muster_kube.writer import Writer
from muster_local.cluster import Cluster

CONFIG_MAPS = ResourcePath("", "v1", "configmaps")
QUICK = ReflectorSettings(first_delay=0.05, longest_delay=0.5)


class ConfigMap(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)


class Diary:
    """What a subscriber heard, and the state that follows from it."""

    def __init__(self, pause: float = 0.0) -> None:
        self.state: dict[tuple[str, str], str] = {}
        self.deleted: list[str] = []
        self.updates = 0
        self._pause = pause

    def follow(self, reflector: Reflector[ConfigMap]) -> None:
        reflector.subscribe(self.add, self.update, self.delete)

    def add(self, new: ConfigMap) -> None:
        assert _key(new) not in self.state
        self.state[_key(new)] = new.metadata.resource_version

    def update(self, old: ConfigMap, new: ConfigMap) -> None:
        assert self.state[_key(old)] == old.metadata.resource_version
        self.state[_key(new)] = new.metadata.resource_version
        self.updates += 1
        time.sleep(self._pause)

    def delete(self, old: ConfigMap) -> None:
        del self.state[_key(old)]
        self.deleted.append(old.metadata.name)


def _key(object_: ConfigMap) -> tuple[str, str]:
    return object_.metadata.namespace, object_.metadata.name


def make_reflector(
    session: ApiSession, namespace: str, settings: ReflectorSettings = QUICK, **selectors: str
) -> Reflector[ConfigMap]:
    # The API server itself puts a ConfigMap into every namespace.
    resource = CONFIG_MAPS.in_namespace(namespace).selecting(fields="metadata.name!=kube-root-ca.crt", **selectors)
    return Reflector(session, resource, ConfigMap, settings=settings)


@asynccontextmanager
async def running(reflector: Reflector[ConfigMap], *, sync: bool = True) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        if sync:
            await asyncio.wait_for(reflector.synced.wait(), 20)
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def create(writer: Writer, namespace: str, name: str, size: int = 1) -> None:
    body = {"metadata": {"name": name}, "data": {"value": "x" * size}}
    await writer.create(CONFIG_MAPS.in_namespace(namespace).collection, body)


async def change(writer: Writer, namespace: str, name: str, value: str) -> None:
    await writer.patch_merge(CONFIG_MAPS.object_path(namespace, name), {"data": {"value": value}})


async def remove(writer: Writer, namespace: str, name: str) -> None:
    await writer.delete(CONFIG_MAPS.object_path(namespace, name))


async def listed(session: ApiSession, namespace: str) -> dict[tuple[str, str], str]:
    body = msgspec.json.decode(await session.list(CONFIG_MAPS.in_namespace(namespace).collection, {}))
    return {
        (namespace, item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for item in body["items"]
        if item["metadata"]["name"] != "kube-root-ca.crt"
    }


async def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


async def until_equal_to_a_list(session: ApiSession, namespace: str, reflector: Reflector[ConfigMap]) -> None:
    expected = await listed(session, namespace)
    await until(lambda: versions(reflector) == expected, f"{len(expected)} objects as listed")


def versions(reflector: Reflector[ConfigMap]) -> dict[tuple[str, str], str]:
    return {key: object_.metadata.resource_version for key, object_ in reflector.store.items()}


async def churn(writer: Writer, namespace: str, rounds: int, *, prefix: str = "c", pause: float = 0.0) -> None:
    """Creates, changes and deletes, so that something is lost if any event is."""
    for number in range(rounds):
        name = f"{prefix}{number}"
        await create(writer, namespace, name, size=500)
        await change(writer, namespace, name, "changed")
        if number % 3 == 0:
            await remove(writer, namespace, name)
        await asyncio.sleep(pause)


class TestFollowing:
    async def test_initial_state_is_streamed_and_changes_follow(
        self, session: ApiSession, writer: Writer, namespace: str
    ) -> None:
        await create(writer, namespace, "before")
        reflector, diary = make_reflector(session, namespace), Diary()
        diary.follow(reflector)
        async with running(reflector):
            assert set(reflector.store) == {(namespace, "before")}
            assert reflector.statistics.lists == 1
            await churn(writer, namespace, 10)
            await until_equal_to_a_list(session, namespace, reflector)
        assert diary.state == versions(reflector)
        assert diary.deleted == ["c0", "c3", "c6", "c9"]
        assert reflector.statistics.failures == 0

    async def test_pages_serve_where_streaming_is_switched_off(
        self, session: ApiSession, writer: Writer, namespace: str
    ) -> None:
        for number in range(25):
            await create(writer, namespace, f"item{number}")
        settings = ReflectorSettings(watch_list=False, page_size=10)
        reflector = make_reflector(session, namespace, settings)
        async with running(reflector):
            assert len(reflector.store) == 25
            await churn(writer, namespace, 5)
            await until_equal_to_a_list(session, namespace, reflector)

    async def test_object_made_anew_is_told_as_deleted_and_added(
        self, session: ApiSession, writer: Writer, namespace: str
    ) -> None:
        await create(writer, namespace, "phoenix")
        reflector, diary = make_reflector(session, namespace), Diary()
        diary.follow(reflector)
        async with running(reflector):
            await remove(writer, namespace, "phoenix")
            await create(writer, namespace, "phoenix")
            await until(lambda: diary.deleted == ["phoenix"] and reflector.store, "the new one")
        assert diary.updates == 0


class TestFaults:
    async def test_nothing_is_lost_while_connections_are_cut_in_mid_stream(
        self, session: ApiSession, writer: Writer, namespace: str, frail_session: ApiSession, proxy: FaultProxy
    ) -> None:
        proxy.faults = Faults(cut_after=(3_000, 12_000), latency=0.001, jitter=0.002)
        reflector, diary = make_reflector(frail_session, namespace), Diary()
        diary.follow(reflector)
        async with running(reflector):
            await asyncio.gather(*(churn(writer, namespace, 40, prefix=f"w{n}-", pause=0.01) for n in range(3)))
            await until_equal_to_a_list(session, namespace, reflector)
        assert diary.state == versions(reflector)
        assert proxy.cuts > 5
        assert reflector.statistics.lists == 1, "a cut must resume, not list again"

    async def test_half_open_connection_is_noticed(
        self, session: ApiSession, writer: Writer, namespace: str, frail_session: ApiSession, proxy: FaultProxy
    ) -> None:
        settings = ReflectorSettings(first_delay=0.05, longest_delay=0.2, idle_timeout=1.5)
        reflector = make_reflector(frail_session, namespace, settings)
        async with running(reflector):
            proxy.faults = Faults(blackhole=frozenset({Direction.DOWN}))
            await create(writer, namespace, "unheard")
            await until(lambda: reflector.statistics.failures > 0, "the silence to be noticed")
            assert reflector.staleness() > 1
            proxy.faults = Faults()
            await until_equal_to_a_list(session, namespace, reflector)
            assert reflector.staleness() < 5

    async def test_lost_history_is_listed_again_and_deletions_are_told(
        self,
        api_server: Cluster,
        session: ApiSession,
        writer: Writer,
        namespace: str,
        frail_session: ApiSession,
        proxy: FaultProxy,
    ) -> None:
        for name in ("stays", "goes", "changes"):
            await create(writer, namespace, name)
        reflector, diary = make_reflector(frail_session, namespace), Diary()
        diary.follow(reflector)
        async with running(reflector):
            proxy.faults = Faults(refuse=True)
            proxy.cut()
            await remove(writer, namespace, "goes")
            await change(writer, namespace, "changes", "new")
            # A new API server has no events from before its start, so it answers 410 Gone to who asks for them.
            await asyncio.to_thread(api_server.stop, "kube-apiserver")
            await asyncio.to_thread(api_server.start, "kube-apiserver")
            proxy.faults = Faults()
            await until(lambda: diary.deleted == ["goes"], "the deletion")
            await until_equal_to_a_list(session, namespace, reflector)
        assert diary.state == versions(reflector)
        assert reflector.statistics.lists == 2

    async def test_restarted_api_server_is_followed_again(
        self, api_server: Cluster, session: ApiSession, writer: Writer, namespace: str
    ) -> None:
        reflector = make_reflector(session, namespace)
        async with running(reflector):
            await churn(writer, namespace, 5)
            await asyncio.to_thread(api_server.kill, "kube-apiserver")
            await asyncio.to_thread(api_server.start, "kube-apiserver")
            await churn(writer, namespace, 5, prefix="after")
            await until_equal_to_a_list(session, namespace, reflector)

    async def test_slow_subscriber_costs_reconnects_and_no_event(
        self, session: ApiSession, writer: Writer, namespace: str
    ) -> None:
        for number in range(20):
            await create(writer, namespace, f"big{number}")
        settings = ReflectorSettings(first_delay=0.05, longest_delay=0.2, buffer_bytes=60_000)
        reflector, diary = make_reflector(session, namespace, settings), Diary(pause=0.01)
        diary.follow(reflector)
        async with running(reflector):
            for round_ in range(10):
                value = str(round_) * 20_000
                await asyncio.gather(*(change(writer, namespace, f"big{n}", value) for n in range(20)))
            await until_equal_to_a_list(session, namespace, reflector)
        assert diary.state == versions(reflector)
        assert reflector.statistics.overflows > 0
        assert reflector.statistics.lists == 1
