"""The small parts of which a watch is made: lines, buffer, store, back-off."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_api.objects import KubernetesStruct, ObjectMeta
from muster_kube.backoff import Backoff
from muster_kube.chunk_buffer import BufferOverflowError, ChunkBuffer
from muster_kube.object_store import Handlers, Key, ObjectStore
from muster_kube.wire import LineSplitter


class Thing(KubernetesStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()


def thing(name: str, version: int, uid: str = "") -> Thing:
    return Thing(metadata=ObjectMeta(namespace="ns", name=name, resource_version=str(version), uid=uid or name))


class Heard:
    """A subscriber that keeps its own copy from what it hears, and fails on news that cannot be."""

    def __init__(self, store: ObjectStore[Thing]) -> None:
        self.copy: dict[Key, Thing] = {}
        self.log: list[str] = []
        store.subscribe(Handlers(self.added, self.updated, self.deleted))

    def added(self, new: Thing) -> None:
        assert ("ns", new.metadata.name) not in self.copy
        self._keep("+", new)

    def updated(self, old: Thing, new: Thing) -> None:
        assert self.copy["ns", old.metadata.name] is old
        assert old.metadata.uid == new.metadata.uid
        self._keep("~", new)

    def deleted(self, old: Thing) -> None:
        del self.copy["ns", old.metadata.name]
        self.log.append("-" + old.metadata.name)

    def _keep(self, sign: str, new: Thing) -> None:
        self.copy["ns", new.metadata.name] = new
        self.log.append(sign + new.metadata.name)


@settings(deadline=None)
@given(lines=st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), seed=st.integers())
def test_lines_survive_any_cutting(lines: list[bytes], seed: int) -> None:
    cuts, rest, splitter, found = random.Random(seed), b"".join(line + b"\n" for line in lines), LineSplitter(), []
    while rest:
        size = cuts.randint(1, 7)
        found += splitter.feed(rest[:size])
        rest = rest[size:]
    assert found == lines


class TestChunkBuffer:
    async def test_full_buffer_refuses_but_keeps_what_it_has(self) -> None:
        buffer = ChunkBuffer(limit=10)
        buffer.put(b"12345678", 1.0)
        with pytest.raises(BufferOverflowError):
            buffer.put(b"abc", 2.0)
        buffer.close(BufferOverflowError())
        assert await buffer.get() == (b"12345678", 1.0)
        with pytest.raises(BufferOverflowError):
            await buffer.get()

    async def test_patient_writer_waits_for_room(self) -> None:
        buffer = ChunkBuffer(limit=4)
        await buffer.put_patiently(b"1234", 1.0)
        waiting = asyncio.create_task(buffer.put_patiently(b"5", 2.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await buffer.get() == (b"1234", 1.0)
        await waiting
        buffer.close()
        assert await buffer.get() == (b"5", 2.0)
        assert await buffer.get() is None

    async def test_chunk_larger_than_the_limit_passes_through_an_empty_buffer(self) -> None:
        buffer = ChunkBuffer(limit=2)
        buffer.put(b"large", 1.0)
        assert await buffer.get() == (b"large", 1.0)

    async def test_reader_waits_for_bytes(self) -> None:
        buffer = ChunkBuffer(limit=2)
        reading = asyncio.create_task(buffer.get())
        await asyncio.sleep(0)
        buffer.put(b"x", 3.0)
        assert await reading == (b"x", 3.0)


class TestObjectStore:
    def test_replacing_tells_the_differences_only(self) -> None:
        store: ObjectStore[Thing] = ObjectStore()
        for known in (thing("same", 1), thing("older", 1), thing("gone", 1), thing("reborn", 1, uid="first")):
            store.put(known)
        heard, view = Heard(store), store.view
        heard.log.clear()
        fresh = [thing("same", 1), thing("older", 2), thing("new", 3), thing("reborn", 4, uid="second")]
        for _ in store.replace({("ns", new.metadata.name): new for new in fresh}):
            pass
        assert heard.log == ["-gone", "~older", "+new", "-reborn", "+reborn"]
        assert view is store.view
        assert {name for _, name in view} == {"same", "older", "new", "reborn"}

    def test_subscriber_hears_what_is_there_already(self) -> None:
        store: ObjectStore[Thing] = ObjectStore()
        store.put(thing("a", 1))
        assert Heard(store).log == ["+a"]

    def test_repeated_event_is_no_news(self) -> None:
        store: ObjectStore[Thing] = ObjectStore()
        heard = Heard(store)
        store.put(thing("a", 1))
        store.put(thing("a", 1))
        store.remove(("ns", "b"))
        assert heard.log == ["+a"]

    def test_deletion_tells_the_final_state(self) -> None:
        store: ObjectStore[Thing] = ObjectStore()
        seen: list[str] = []
        store.subscribe(Handlers(deleted=lambda last: seen.append(last.metadata.resource_version)))
        store.put(thing("a", 1))
        store.remove(("ns", "a"), thing("a", 2))
        assert seen == ["2"]

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["put", "remove", "replace"]), st.sets(st.sampled_from("abcd")))))
    def test_a_subscribers_copy_never_differs(self, steps: list[tuple[str, set[str]]]) -> None:
        store: ObjectStore[Thing] = ObjectStore()
        heard = Heard(store)
        for version, (step, names) in enumerate(steps):
            fresh = {("ns", name): thing(name, version) for name in sorted(names)}
            if step == "replace":
                for _ in store.replace(fresh):
                    pass
            for key, new in fresh.items() if step != "replace" else ():
                store.put(new) if step == "put" else store.remove(key)
            assert heard.copy == dict(store.view)


def test_backoff_doubles_to_its_longest_and_starts_over() -> None:
    backoff = Backoff(first=1.0, longest=8.0, jitter=0.0)
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 8, 8]
    assert backoff.next_delay(at_least=60) == 60
    backoff.reset()
    assert backoff.next_delay() == 1


def test_jitter_spreads_around_the_delay() -> None:
    delays = [Backoff(first=10, jitter=0.5, random=random.Random(seed)).next_delay() for seed in range(100)]
    assert 7.5 <= min(delays) < 8.5
    assert 11.5 < max(delays) <= 12.5


def test_metadata_alone_is_enough_to_name_an_object() -> None:
    from muster_kube.wire import decode_head

    text = msgspec.json.encode({"metadata": {"name": "x", "managedFields": [{"anything": 1}]}, "spec": "odd"})
    assert decode_head(msgspec.Raw(text)).metadata.name == "x"
