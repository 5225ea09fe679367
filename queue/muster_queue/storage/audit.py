"""The audit trail: what it says, the sealer that chains it, and the verifier that finds what was tampered with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from muster_api.phases import JobPhase
from muster_queue.storage.chain import (
    BEGINNING,
    Finding,
    Kind,
    Place,
    RowDigest,
    Seal,
    check_link,
    compare_rows,
    make_seal,
)
from muster_queue.storage.database import Database
from muster_queue.storage.errors import StorageError
from muster_queue.storage.identifiers import made_at
from muster_queue.storage.jobs import CLOCK_ALLOWANCE
from muster_queue.storage.records import AuditRow
from muster_queue.storage.statements import statement

log = structlog.get_logger(__name__)

SEALER_LOCK: Final = 7_305_216_114_002
GREATEST: Final = Place((1 << 63) - 1, (1 << 63) - 1)
MOST_PER_SEAL: Final = 5_000
SEALS_PER_READ: Final = 20
MOST_FINDINGS: Final = 100
MOST_SCANNED: Final = 20_000


@dataclass(frozen=True, slots=True)
class SealHead:
    """The last seal: who keeps a copy of it elsewhere can tell when the end of the chain was cut off or made anew."""

    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Audit rows in order, and where the next stretch begins; None where these were the last."""

    rows: list[AuditRow]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verifier has found; no findings: the trail is as it was written."""

    head: SealHead
    rows: int
    findings: tuple[Finding, ...]
    is_complete: bool = True
    """False where it stopped because there was so much to find."""

    @property
    def holds(self) -> bool:
        return not self.findings


class AuditTrail:
    """Reads the audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, namespaces: tuple[str, ...] | None, most: int, before: Place = GREATEST) -> list[AuditRow]:
        """The newest rows before a place: that of the last row of the page that came first."""
        parameters: dict[str, Any] = {"txid": str(before.txid), "id": before.id, "most": most}
        parameters["namespaces"] = None if namespaces is None else list(namespaces)
        return [_audit_row(row) for row in await self._database.read_records(statement("list_audit"), parameters)]

    async def onwards(
        self,
        after: Place,
        most: int,
        *,
        namespaces: tuple[str, ...] | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Stretch:
        """The oldest rows after a place that fit. There may be more even where few or none are given: ask on."""
        parameters = {
            "txid": str(after.txid),
            "id": after.id,
            "namespaces": None if namespaces is None else list(namespaces),
            "actor": actor,
            "since": since,
            "until": until,
            "scan": MOST_SCANNED,
            "most": most + 1,
        }
        found = await self._database.read_records(statement("scan_audit"), parameters)
        rows = [_audit_row(row) for row in found if row["fits"]]
        if len(rows) > most:
            return Stretch(rows[:most], rows[most - 1].place)
        is_cut = bool(found) and found[0]["looked_at"] == MOST_SCANNED
        last = _audit_row(found[-1]) if is_cut else None
        if last is None or (until is not None and last.time > until + CLOCK_ALLOWANCE):
            return Stretch(rows, None)
        return Stretch(rows, last.place)

    async def place_before(self, moment: datetime) -> Place | None:
        """A place that no row lies before which is not older than this; None where there is no such row."""
        rows = await self._database.read(statement("audit_since"), {"since": moment - CLOCK_ALLOWANCE})
        return Place(int(rows[0][0]), 0) if rows else None

    async def unsealed(self, most: int) -> int:
        """How many rows the sealer has not come to; counted up to `most`."""
        rows = await self._database.read(statement("seal_head"), {})
        place = Place(int(rows[0][1]), rows[0][2]) if rows else Place(0, 0)
        parameters = {"txid": str(place.txid), "id": place.id, "most": most}
        ((count,),) = await self._database.read(statement("count_unsealed"), parameters)
        return int(count)

    async def of_job(self, job_id: UUID, most: int = 1000) -> list[AuditRow]:
        """All rows about a job, as long as its events are kept."""
        parameters = {"id": job_id, "since": made_at(job_id) - CLOCK_ALLOWANCE, "most": most}
        return [_audit_row(row) for row in await self._database.read_records(statement("audit_of_job"), parameters)]

    async def head(self) -> SealHead | None:
        """The last seal, for a copy outside of the database."""
        rows = await self._database.read(statement("seal_head"), {})
        return SealHead(rows[0][0], rows[0][3]) if rows else None


class Sealer:
    """Chains rows that nothing can come before any more. Several may run: the lock saves work, the key decides."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seal(self, most: int = MOST_PER_SEAL) -> Seal | None:
        """Seals the next rows of finished transactions; None when there are none, or another sealer is at work."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(statement("seal_lock"), {"lock": SEALER_LOCK})
            if await cursor.fetchone() != (True,):
                return None
            head = await (await connection.execute(statement("seal_head"), {})).fetchone()
            number, after, digest = _after(head)
            parameters = {**_range(after, GREATEST), "most": most}
            rows = await (await connection.execute(statement("audit_digests"), parameters)).fetchall()
            if not rows:
                return None
            seal = make_seal(number, digest, [_row_digest(row) for row in rows])
            written = await connection.execute(statement("seal"), _seal_parameters(seal))
            return seal if await written.fetchone() is not None else None

    async def seal_all(self, most: int = MOST_PER_SEAL) -> int:
        """Seals until nothing is left; returns how many rows."""
        rows = 0
        while (seal := await self.seal(most)) is not None:
            rows += len(seal.rows)
        return rows

    async def run(self, pause_seconds: float = 1.0) -> None:
        """Seals for ever, and writes each seal into the log: a copy that lies outside of the database."""
        while True:
            try:
                seal = await self.seal()
            except StorageError as error:
                log.warning("audit cannot be sealed now", error=str(error))
                seal = None
            if seal is None:
                await asyncio.sleep(pause_seconds)
            else:
                log.info("audit sealed", number=seal.number, rows=seal.count, digest=seal.digest.hex())


class Verifier:
    """Recomputes everything: each row's digest, each seal, each link, and the rows that no seal knows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def verify(self, anchor: SealHead | None = None) -> Verification:
        """Reads the whole trail in short statements; an anchor is a seal that the chain has to hold still."""
        findings: list[Finding] = []
        place, digest, number, rows = Place(0, 0), BEGINNING, 0, 0
        while len(findings) < MOST_FINDINGS and (seals := await self._seals(number)):
            for seal in seals:
                findings += check_link(seal, number, digest, place)
                if anchor is not None and seal.number == anchor.number and seal.digest != anchor.digest:
                    findings.append(Finding(Kind.SEAL, seal.number, seal.last, "differs from the copy kept outside"))
                found = await self._digests(place, seal.last, len(seal.rows))
                findings += compare_rows(seal, found)
                place, digest, number = max(place, seal.last), seal.digest, seal.number
                rows += len(seal.rows)
        is_complete = len(findings) < MOST_FINDINGS
        if is_complete and anchor is not None and number < anchor.number:
            findings.append(Finding(Kind.SEAL, anchor.number, place, "the seal kept outside is gone"))
        return Verification(SealHead(number, digest), rows, tuple(findings[:MOST_FINDINGS]), is_complete)

    async def _seals(self, after: int) -> list[Seal]:
        rows = await self._database.read(statement("seals"), {"after": after, "most": SEALS_PER_READ})
        return [Seal.from_row(row) for row in rows]

    async def _digests(self, after: Place, to: Place, expected: int) -> list[RowDigest]:
        """The rows that lie there now, with enough room to see what was put in between."""
        parameters = {**_range(after, to), "most": expected + MOST_FINDINGS}
        return [_row_digest(row) for row in await self._database.read(statement("audit_digests"), parameters)]


def _after(head: tuple[Any, ...] | None) -> tuple[int, Place, bytes]:
    if head is None:
        return 1, Place(0, 0), BEGINNING
    return head[0] + 1, Place(int(head[1]), head[2]), bytes(head[3])


def _range(after: Place, to: Place) -> dict[str, Any]:
    return {"after_txid": str(after.txid), "after_id": after.id, "to_txid": str(to.txid), "to_id": to.id}


def _row_digest(row: tuple[Any, ...]) -> RowDigest:
    return RowDigest(Place(int(row[0]), row[1]), bytes(row[2]))


def _seal_parameters(seal: Seal) -> dict[str, Any]:
    return {
        "number": seal.number,
        "first_txid": str(seal.first.txid),
        "first_id": seal.first.id,
        "last_txid": str(seal.last.txid),
        "last_id": seal.last.id,
        "rows": seal.count,
        "row_digests": seal.leaves,
        "previous_digest": seal.previous_digest,
        "digest": seal.digest,
    }


def _audit_row(row: dict[str, Any]) -> AuditRow:
    return AuditRow(
        txid=int(row["txid"]),
        id=row["id"],
        time=row["time"],
        actor=row["actor"],
        action=row["action"],
        namespace=row["namespace"],
        job_ids=tuple(row["job_ids"]),
        source=None if row["source"] is None else JobPhase(row["source"]),
        target=None if row["target"] is None else JobPhase(row["target"]),
        details=row["details"] if row["details"] is not None else msgspec.Raw(b"null"),
    )
