"""Keeps a local copy of one resource up to date, whatever happens to the connection.

The first state comes by a streaming list (sendInitialEvents), or by pages where the server has none; then one watch
follows another from the last resourceVersion seen. Nothing is lost in between: a history that is gone means a new list,
whose differences are told to the subscribers as if they had been watched.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from muster_kube.backoff import Backoff
from muster_kube.chunk_buffer import BufferOverflowError
from muster_kube.clock import Clock, SystemClock
from muster_kube.errors import ApiError, Gone, Invalid, NotFound, TooManyRequests, decode_status, error_from_answer
from muster_kube.object_store import Handlers, Key, ObjectStore
from muster_kube.pacing import Pacer
from muster_kube.resources import ResourcePath
from muster_kube.session import ApiSession
from muster_kube.watching import BUFFER_BYTES, open_watch
from muster_kube.wire import (
    INITIAL_EVENTS_END,
    KubernetesObject,
    MalformedAnswerError,
    TooDeepError,
    WatchEvent,
    decode_head,
    decode_page,
)

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=KubernetesObject)

SHORT_LIFE: Final = 1.0
STEADY_LIFE: Final = 10.0
SILENT_ENDS_BEFORE_RELIST: Final = 3
STREAMED_LISTS_BEFORE_PAGES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorSettings:
    """Durations in seconds."""

    watch_list: bool = True
    """Ask for the initial state as a stream first."""
    page_size: int = 500
    shortest_watch: int = 20
    longest_watch: int = 30
    """The server ends each watch after a random time between the two. That end is a sign of life, and the only one to
    rely on: where nothing happens, bookmarks come every other minute. Watching on is one cheap request."""
    idle_timeout: float = 45.0
    """Silence after which a connection counts as half-open; above `longest_watch`."""
    first_delay: float = 0.8
    longest_delay: float = 30.0
    buffer_bytes: int = BUFFER_BYTES


@dataclass(slots=True)
class Statistics:
    """What has happened so far; plain numbers that cost nothing to count."""

    events: int = 0
    bookmarks: int = 0
    lists: int = 0
    watches: int = 0
    failures: int = 0
    overflows: int = 0
    undecodable: int = 0


class Reflector(Generic[T]):
    """A local copy of `resource` as structs of `type_`.

    `run` is a supervised task: it ends by cancellation only, or with an exception of a subscriber, which is a bug.
    An object that cannot be decoded is counted, logged once and left as it was known before.
    """

    def __init__(
        self,
        session: ApiSession,
        resource: ResourcePath,
        type_: type[T],
        *,
        settings: ReflectorSettings | None = None,
        clock: Clock | None = None,
        random_source: random.Random | None = None,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.statistics = Statistics()
        self.resource_version = ""
        self._session = session
        self._settings = settings or ReflectorSettings()
        self._clock = clock or SystemClock()
        self._random = random_source or random.SystemRandom()
        self._decode = msgspec.json.Decoder(type_).decode
        self._objects: ObjectStore[T] = ObjectStore()
        self._backoff = Backoff(self._settings.first_delay, self._settings.longest_delay, random=self._random)
        # The state being listed, of which nobody hears before it is whole.
        self._initial: dict[Key, T] | None = None
        self._sign_of_life: float | None = None
        self._streams_lists = self._settings.watch_list
        self._failed_streams = 0
        self._silent_ends = 0
        self._may_list_at_once = True
        self._watch_started = 0.0
        self._news_before = 0
        self._undecodable_seen: set[Key] = set()
        self._log = log.bind(resource=str(resource))

    @property
    def store(self) -> Mapping[Key, T]:
        """(namespace, name) to object; a live view that always stays the same object."""
        return self._objects.view

    def subscribe(
        self,
        added: Callable[[T], None] | None = None,
        updated: Callable[[T, T], None] | None = None,
        deleted: Callable[[T], None] | None = None,
    ) -> None:
        """Calls back on the loop, in order, after the store has changed; objects known by now are told as added."""
        self._objects.subscribe(Handlers(added, updated, deleted))

    def staleness(self, now: float | None = None) -> float:
        """Seconds since the last sign of life; infinite before the first complete state.

        In a healthy cluster it stays below `longest_watch`: more than twice that means that the store is not to be
        believed any more.
        """
        if self._sign_of_life is None or not self.synced.is_set():
            return math.inf
        return max(0.0, (self._clock.monotonic() if now is None else now) - self._sign_of_life)

    async def run(self) -> None:
        """Follows the resource for ever."""
        while True:
            self._watch_started = self._clock.monotonic()
            self._news_before = self._news
            try:
                await self._follow()
            except (ApiError, BufferOverflowError, MalformedAnswerError, TooDeepError) as error:
                delay = self._delay_after(error)
            else:
                delay = self._delay_after_end()
            await asyncio.sleep(delay)

    async def _follow(self) -> None:
        """One connection's worth: lists if there is no position to resume from, then watches until it ends."""
        self._initial = None
        if not self.resource_version:
            self._initial = {}
            if not self._streams_lists or self._failed_streams >= STREAMED_LISTS_BEFORE_PAGES:
                await self._list_pages()
        await self._watch()

    async def _watch(self) -> None:
        self.statistics.watches += 1
        async with open_watch(
            self._session,
            self.resource.collection,
            self._watch_parameters(),
            idle_timeout=self._settings.idle_timeout,
            buffer_bytes=self._settings.buffer_bytes,
            clock=self._clock,
            on_processed=self._saw_life,
            is_patient=self._initial is not None,
        ) as watch:
            async for event in watch.events():
                if self._apply(event):
                    await self._adopt_initial()
                    watch.is_patient = False
        # Ended by the server in good order: it has told all that there was.
        self._saw_life(self._clock.monotonic())

    def _watch_parameters(self) -> dict[str, str]:
        lifetime = self._random.randint(self._settings.shortest_watch, self._settings.longest_watch)
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lifetime),
            **self.resource.selectors(),
        }
        if self._initial is None:
            return parameters | {"resourceVersion": self.resource_version}
        return parameters | {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}

    async def _list_pages(self) -> None:
        """The fallback: a consistent list in pages, so that neither side holds a large answer at once."""
        pacer = Pacer()
        parameters = {"limit": str(self._settings.page_size), **self.resource.selectors()}
        while True:
            page = decode_page(await self._session.list(self.resource.collection, parameters))
            for item in page.items:
                self._change("ADDED", item)
                if pacer.is_due():
                    await pacer.rest()
            if not page.metadata.continue_:
                break
            parameters["continue"] = page.metadata.continue_
        await self._adopt_initial()
        self.resource_version = page.metadata.resource_version

    async def _adopt_initial(self) -> None:
        """Makes the listed state the store's, telling subscribers the differences."""
        fresh, self._initial = self._initial or {}, None
        pacer = Pacer()
        for _ in self._objects.replace(fresh):
            if pacer.is_due():
                await pacer.rest()
        self._sign_of_life = self._clock.monotonic()
        self.statistics.lists += 1
        self._failed_streams = 0
        if not self.synced.is_set():
            self._log.info("synced", objects=len(fresh))
        self.synced.set()

    def _apply(self, event: WatchEvent) -> bool:
        """Takes one event in; true when it ended the initial state."""
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                self._change(event.type, event.object)
            case "BOOKMARK":
                return self._bookmark(event.object)
            case "ERROR":
                code = decode_status(event.object).code
                raise error_from_answer(code, bytes(event.object), is_write=False)
            case unknown:
                self._log.warning("unknown kind of watch event", kind=unknown)
        return False

    def _bookmark(self, raw: msgspec.Raw) -> bool:
        metadata = decode_head(raw).metadata
        self.statistics.bookmarks += 1
        ends_initial = self._initial is not None and metadata.annotations.get(INITIAL_EVENTS_END) == "true"
        if self._initial is None or ends_initial:
            self.resource_version = metadata.resource_version
        return ends_initial

    def _change(self, kind: str, raw: msgspec.Raw) -> None:
        self.statistics.events += 1
        new = self._decode_or_skip(raw)
        metadata = (decode_head(raw) if new is None else new).metadata
        key = (metadata.namespace, metadata.name)
        if self._initial is not None:
            self._collect(self._initial, kind, key, new)
            return
        if kind == "DELETED":
            self._objects.remove(key, new)
        elif new is not None:
            self._objects.put(new)
        self.resource_version = metadata.resource_version

    def _collect(self, initial: dict[Key, T], kind: str, key: Key, new: T | None) -> None:
        """Into the state being listed; one that does not decode stays as it was known before."""
        known = self._objects.view.get(key) if new is None else new
        if kind == "DELETED":
            initial.pop(key, None)
        elif known is not None:
            initial[key] = known

    def _decode_or_skip(self, raw: msgspec.Raw) -> T | None:
        try:
            return self._decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            self.statistics.undecodable += 1
            metadata = decode_head(raw).metadata
            key = (metadata.namespace, metadata.name)
            if key not in self._undecodable_seen:
                self._undecodable_seen.add(key)
                self._log.error("object cannot be decoded", namespace=key[0], name=key[1], error=str(error))
            return None

    def _saw_life(self, arrived: float) -> None:
        if self._initial is None:
            self._sign_of_life = arrived

    @property
    def _news(self) -> int:
        return self.statistics.events + self.statistics.bookmarks

    def _delay_after_end(self) -> float:
        """The server ended the watch in good order, as it does all the time."""
        lived = self._note_health()
        if lived >= SHORT_LIFE:
            self._silent_ends = 0
            return 0.0
        if self._news == self._news_before:
            self._silent_ends += 1
        if self._silent_ends >= SILENT_ENDS_BEFORE_RELIST:
            # Some servers end the watch of a forgotten history at once, without saying that it is gone.
            self._silent_ends = 0
            self.resource_version = ""
        return self._backoff.next_delay()

    def _delay_after(self, error: Exception) -> float:
        self.statistics.failures += 1
        self.statistics.overflows += isinstance(error, BufferOverflowError)
        lived = self._note_health()
        was_listing, self._initial = self._initial is not None, None
        if isinstance(error, Gone | Invalid | NotFound):
            self.resource_version = ""
        if was_listing:
            self._failed_streams += 1
            self._streams_lists = self._streams_lists and not isinstance(error, Invalid)
        delay = self._backoff.next_delay(error.retry_after if isinstance(error, TooManyRequests) else 0.0)
        if isinstance(error, Gone | Invalid) and self._may_list_at_once:
            self._may_list_at_once = False
            delay = 0.0
        self._log.warning("watch lost", error=str(error), kind=type(error).__name__, lived=lived, delay=delay)
        return delay

    def _note_health(self) -> float:
        """Forgets earlier failures when this connection was of use; returns how long it lived."""
        lived = self._clock.monotonic() - self._watch_started
        if lived >= STEADY_LIFE:
            self._may_list_at_once = True
        if lived >= STEADY_LIFE or self._news > self._news_before:
            self._backoff.reset()
        return lived
