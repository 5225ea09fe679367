"""Keeps rows and AIJobs in agreement: what has changed on either side is compared, until nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import structlog

from muster_api.jobs import AIJob
from muster_kube.backoff import Backoff
from muster_kube.errors import ApiError
from muster_queue.dispatch.feed import Feed, Key
from muster_queue.dispatch.importer import Importer
from muster_queue.dispatch.metrics import DispatchMetrics
from muster_queue.dispatch.mirroring import Seen, next_step
from muster_queue.dispatch.objects import JobObjects
from muster_queue.dispatch.recording import Pair, Recorder
from muster_queue.jobs.ordering import job_id_of
from muster_queue.storage.errors import Unstorable
from muster_queue.storage.jobs import LEAST_ID
from muster_queue.storage.records import Reflection
from muster_queue.storage.reflections import MOST_PER_PAGE, Reflections

log = structlog.get_logger(__name__)

BATCH_SECONDS: Final = 0.02
"""What changes within is written in one statement."""
WISH_SECONDS: Final = 0.25
SCAN_SECONDS: Final = 300.0
FIRST_REST: Final = 0.5
LONGEST_REST: Final = 60.0


Bed = tuple[Key, str]
"""Whoever rests: what is there under a name, or, by its uid, what is gone from there."""


class Look(NamedTuple):
    """An AIJob that has changed, and the job that it stands for."""

    job_id: UUID
    key: Key
    seen: Seen


class Mirror:
    """One leader's; what it could not do stays in the feed and is done later, whatever was away meanwhile."""

    def __init__(
        self,
        feed: Feed,
        reflections: Reflections,
        importer: Importer,
        recorder: Recorder,
        objects: JobObjects,
        metrics: DispatchMetrics,
    ) -> None:
        self._feed = feed
        self._reflections = reflections
        self._importer = importer
        self._recorder = recorder
        self._objects = objects
        self._metrics = metrics
        self._resting: dict[Bed, asyncio.TimerHandle] = {}
        self._patience: dict[Bed, Backoff] = {}

    async def follow(self) -> None:
        """One batch of what has changed."""
        await self._feed.news()
        await asyncio.sleep(BATCH_SECONDS)
        keys, gone = self._feed.take(MOST_PER_PAGE)
        try:
            await self._compare([key for key in keys if not self._rests(key)], gone)
        except BaseException:
            for key in keys:
                self._feed.touch(key)
            for job in gone:
                self._feed.lose(job)
            # What is done by now need not be known: everything is compared with what stands there.
            raise

    async def look_for_wishes(self) -> None:
        """What was asked for over REST is carried to the AIJobs."""
        after = LEAST_ID
        while rows := await self._reflections.wished(after):
            for key in (_key(row) for row in rows if self._is_known(row)):
                if not self._rests(key):
                    self._feed.touch(key)
            await self._resolve_doubts([row for row in rows if not self._is_known(row)])
            after = rows[-1].id
            if len(rows) < MOST_PER_PAGE:
                break
        await asyncio.sleep(WISH_SECONDS)

    async def scan(self) -> None:
        """Compares everything once, page by page: after a change of leader, an outage, and now and then."""
        self._feed.needs_scan = False
        await self._confirm_answers()
        self._feed.touch_all()
        after, differing = LEAST_ID, 0
        while rows := await self._reflections.page(after):
            unknown = [row for row in rows if not self._is_known(row)]
            differing += await self._resolve_doubts(unknown)
            after = rows[-1].id
        self._metrics.scans.inc()
        self._metrics.drift.inc(differing)

    async def scan_now_and_then(self) -> None:
        """At the beginning of a term, and again whenever more was missed than is kept in mind."""
        await self.scan()
        waited = 0.0
        while waited < SCAN_SECONDS and not self._feed.needs_scan:
            await asyncio.sleep(1.0)
            waited += 1.0

    def stop(self) -> None:
        """Nobody rests any longer."""
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()

    def _is_known(self, row: Reflection) -> bool:
        job = self._feed.known(_key(row))
        return job is not None and job.metadata.uid == row.object_uid

    async def _confirm_answers(self) -> None:
        """What only an own write tells of may have gone before any watch saw it."""
        for job in self._feed.unconfirmed():
            found = await self._objects.find(*_key_of(job))
            if found is None or found.metadata.uid != job.metadata.uid:
                self._feed.lose(job)

    async def _resolve_doubts(self, rows: Sequence[Reflection]) -> int:
        """The caches know no AIJob of these: the API server itself is asked before a job counts as deleted."""
        pairs = []
        for row in rows:
            if self._rests(_key(row)):
                continue
            try:
                found = await self._objects.find(row.namespace, row.name)
            except (ApiError, msgspec.DecodeError) as error:
                log.info("AIJob cannot be looked at now", namespace=row.namespace, job=row.name, error=str(error))
                self._rest(_key(row), Seen(None))
                continue
            if found is not None and found.metadata.uid == row.object_uid:
                self._feed.see_answer(found)
            elif (step := next_step(row, Seen(None))) is not None:
                pairs.append(Pair(_key(row), row, Seen(None), step))
        if pairs:
            await self._take(pairs)
        return len(pairs)

    async def _compare(self, keys: Sequence[Key], gone: Sequence[AIJob]) -> None:
        looked = [Look(job_id_of(job.metadata), _key_of(job), Seen(job, is_gone=True)) for job in gone]
        for key in keys:
            job = self._feed.known(key)
            if job is not None:
                looked.append(Look(job_id_of(job.metadata), key, Seen(job)))
        rows = await self._reflections.find(list({look.job_id for look in looked}))
        await self._import([(look.key, look.seen) for look in looked if look.job_id not in rows])
        await self._take(list(self._pairs(looked, rows)))

    def _pairs(self, looked: Sequence[Look], rows: dict[UUID, Reflection]) -> Iterable[Pair]:
        taken: set[UUID] = set()
        for look in looked:
            row = rows.get(look.job_id)
            if row is None or _key(row) != look.key:
                # None yet, or an AIJob that only says that it stands for the job.
                continue
            if row.id in taken:
                # The one before it, of the same id, comes first.
                self._again(look.key, look.seen)
                continue
            step = next_step(row, look.seen)
            if step is not None:
                taken.add(row.id)
                yield Pair(look.key, row, look.seen, step)
            else:
                for bed in (_bed(look.key, look.seen), (look.key, "")):
                    self._patience.pop(bed, None)

    async def _import(self, unknown: Sequence[tuple[Key, Seen]]) -> None:
        jobs = {key: seen.job for key, seen in unknown if seen.job is not None}
        left = await self._importer.store(list(jobs.values()))
        self._metrics.imported.inc(len(jobs) - len(left))
        refused = {job.metadata.uid for job in left}
        for key, seen in unknown:
            if seen.job is not None and seen.job.metadata.uid in refused:
                self._rest(key, seen)
            else:
                self._again(key, seen)

    async def _take(self, pairs: Sequence[Pair]) -> None:
        try:
            resting = await self._recorder.take(pairs)
        except Unstorable as error:
            await self._take_apart(pairs, error)
            return
        for pair in pairs:
            self._metrics.steps.labels(type(pair.step).__name__).inc()
            if pair.key in resting:
                self._rest(pair.key, pair.seen)
            else:
                self._again(pair.key, pair.seen)

    async def _take_apart(self, pairs: Sequence[Pair], error: Unstorable) -> None:
        """One that the database does not take must not stop the others; what was done by now is fenced."""
        if len(pairs) > 1:
            for pair in pairs:
                await self._take([pair])
            return
        for pair in pairs:
            log.error("job cannot be mirrored", namespace=pair.key[0], job=pair.key[1], error=str(error))
            self._rest(pair.key, pair.seen)

    def _again(self, key: Key, seen: Seen) -> None:
        """Until they agree, unless it rests."""
        if _bed(key, seen) in self._resting:
            return
        if seen.is_gone and seen.job is not None:
            self._feed.lose(seen.job)
        else:
            self._feed.touch(key)

    def _rests(self, key: Key) -> bool:
        return (key, "") in self._resting

    def _rest(self, key: Key, seen: Seen) -> None:
        """It is looked at again in a while, and then again after a longer one."""
        bed = _bed(key, seen)
        if bed in self._resting:
            return
        patience = self._patience.setdefault(bed, Backoff(first=FIRST_REST, longest=LONGEST_REST))

        def wake() -> None:
            self._resting.pop(bed, None)
            self._again(key, seen)

        self._resting[bed] = asyncio.get_running_loop().call_later(patience.next_delay(), wake)


def _bed(key: Key, seen: Seen) -> Bed:
    """Nobody else tells once more of what is gone, so it does not wait for what is there under its name."""
    return key, seen.job.metadata.uid if seen.is_gone and seen.job is not None else ""


def _key(row: Reflection) -> Key:
    return row.namespace, row.name


def _key_of(job: AIJob) -> Key:
    return job.metadata.namespace, job.metadata.name
