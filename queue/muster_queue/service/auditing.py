"""The audit for the api: who did what, and whether all of it is still as it was written."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from muster_queue.identity.caches import SharedCalls
from muster_queue.rest.service import AuditAnswer, AuditFilter, AuditVerdictAnswer, Page, PageRequest, Position
from muster_queue.rest.service_errors import NotFound, StorageAway
from muster_queue.service.errors import in_words_of_the_api
from muster_queue.service.records import parse_id
from muster_queue.storage.audit import AuditTrail, Stretch, Verifier
from muster_queue.storage.chain import Place
from muster_queue.storage.records import AuditRow

VERIFY_SECONDS: Final = 300.0
MOST_UNSEALED: Final = 1_000_000
MOST_OF_A_JOB: Final = 1_000
MOST_IDS: Final = 20_000
"""Of jobs on one page: a row of a bulk names up to a thousand."""
_BEGINNING: Final = Place(0, 0)
_GREATEST_TXID: Final = 2**64 - 1


class Auditor:
    """One for each process."""

    def __init__(self, trail: AuditTrail, verifier: Verifier) -> None:
        self._trail = trail
        self._verifier = verifier
        self._verifying: SharedCalls[None, AuditVerdictAnswer] = SharedCalls()

    async def page(self, chosen: AuditFilter, page: PageRequest) -> Page[AuditAnswer]:
        """The oldest first; a page may hold less than it could while there are more."""
        with in_words_of_the_api():
            stretch = await self._of_job(chosen, page) if chosen.job_id else await self._stretch(chosen, page)
        rows = _bounded(stretch.rows)
        end = rows[-1].place if len(rows) < len(stretch.rows) else stretch.next
        return Page(items=[_answer(row) for row in rows], next=_position(end))

    async def verify(self) -> AuditVerdictAnswer:
        """Reads all of it, once for everybody who asks meanwhile."""
        return await self._verifying.result(None, self._verify)

    async def close(self) -> None:
        await self._verifying.close()

    async def _verify(self) -> AuditVerdictAnswer:
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                with in_words_of_the_api():
                    found = await self._verifier.verify()
                    unsealed = await self._trail.unsealed(MOST_UNSEALED)
        except TimeoutError:
            raise StorageAway("the audit could not be read in time") from None
        return AuditVerdictAnswer(
            intact=found.holds,
            checked_rows=found.rows,
            checked_seals=found.head.number,
            unsealed_rows=unsealed,
            message="; ".join(str(finding) for finding in found.findings[:20]),
        )

    async def _stretch(self, chosen: AuditFilter, page: PageRequest) -> Stretch:
        after = _place(page)
        if after is None and chosen.after is not None:
            after = await self._trail.place_before(chosen.after)
            if after is None:
                return Stretch([], None)
        return await self._trail.onwards(
            after or _BEGINNING,
            page.limit,
            namespaces=(chosen.namespace,) if chosen.namespace else None,
            actor=chosen.actor or None,
            since=chosen.after,
            until=chosen.before,
        )

    async def _of_job(self, chosen: AuditFilter, page: PageRequest) -> Stretch:
        after = _place(page) or _BEGINNING
        rows = await self._trail.of_job(parse_id(chosen.job_id), MOST_OF_A_JOB)
        fitting = [row for row in rows if row.place > after and _fits(row, chosen)]
        rest = fitting[: page.limit]
        return Stretch(rest, rest[-1].place if len(fitting) > len(rest) else None)


def _fits(row: AuditRow, chosen: AuditFilter) -> bool:
    return (
        chosen.namespace in ("", row.namespace)
        and chosen.actor in ("", row.actor)
        and (chosen.after is None or row.time > chosen.after)
        and (chosen.before is None or row.time < chosen.before)
    )


def _bounded(rows: list[AuditRow]) -> list[AuditRow]:
    """As many of the first ones as a page should name jobs; one at least."""
    ids = 0
    for count, row in enumerate(rows):
        ids += len(row.job_ids)
        if count and ids > MOST_IDS:
            return rows[:count]
    return rows


def _place(page: PageRequest) -> Place | None:
    if page.after is None:
        return None
    text, number = page.after.text, page.after.number
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > _GREATEST_TXID or number < 0:
        raise NotFound("the page is none of this list")
    return Place(int(text), number)


def _position(place: Place | None) -> Position | None:
    return None if place is None else Position(place.id, str(place.txid))


def _answer(row: AuditRow) -> AuditAnswer:
    details: Any = msgspec.json.decode(row.details)
    return AuditAnswer(
        number=row.id,
        time=row.time,
        actor=row.actor,
        action=row.action,
        namespace=row.namespace,
        job_ids=tuple(map(str, row.job_ids)),
        from_phase=row.source,
        to_phase=row.target,
        details=details if isinstance(details, dict) else {},
    )
