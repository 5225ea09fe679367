"""The trail is sealed in the order of its transactions, and whatever is done to it afterwards is found and named."""

from __future__ import annotations

import psycopg
import pytest

from bones.storing import make_job, make_request
from muster_api.phases import JobPhase
from muster_queue.storage.audit import AuditTrail, Sealer, SealHead, Verifier
from muster_queue.storage.chain import Kind
from muster_queue.storage.database import Database
from muster_queue.storage.moving import Mover
from muster_queue.storage.records import Actor, Change
from muster_queue.storage.submissions import Submissions

ROWS = 12


@pytest.fixture
async def sealed(database: Database, submissions: Submissions) -> Database:
    """A dozen rows under three seals."""
    for number in range(ROWS):
        await submissions.store([make_request(make_job(submitter=f"user-{number}"))])
    sealer = Sealer(database)
    assert await sealer.seal_all(most=5) == ROWS
    return database


def tamper(url: str, statement: str) -> None:
    """As somebody with all rights on the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(statement.encode()).rowcount == 1


async def test_an_untouched_trail_holds(sealed: Database) -> None:
    verification = await Verifier(sealed).verify()
    assert verification.holds and verification.is_complete
    assert (verification.rows, verification.head.number) == (ROWS, 3)
    assert await AuditTrail(sealed).head() == verification.head


async def test_an_empty_trail_holds(database: Database) -> None:
    assert await Sealer(database).seal() is None
    assert (await Verifier(database).verify()).holds


@pytest.mark.parametrize(
    "assignment",
    [
        "actor = 'somebody else'",
        "time = time + interval '1 microsecond'",
        "job_ids = '{}'",
        "target = 'Held'",
        "source = 'Held'",
        "details = '{}'",
        "namespace = ''",
        "action = 'hold'",
    ],
)
async def test_a_changed_row_is_named(sealed: Database, database_url: str, assignment: str) -> None:
    tamper(database_url, f"update muster.audit set {assignment} where id = 7")
    (finding,) = (await Verifier(sealed).verify()).findings
    assert (finding.kind, finding.place.id, finding.seal) == (Kind.CHANGED, 7, 2)


@pytest.mark.parametrize("row", [1, 5, 7, ROWS])
async def test_a_deleted_row_is_named(sealed: Database, database_url: str, row: int) -> None:
    tamper(database_url, f"delete from muster.audit where id = {row}")
    (finding,) = (await Verifier(sealed).verify()).findings
    assert (finding.kind, finding.place.id) == (Kind.DELETED, row)


@pytest.mark.parametrize("near", [1, 5, 6, ROWS])
async def test_an_inserted_row_is_named(sealed: Database, database_url: str, near: int) -> None:
    tamper(
        database_url,
        f"insert into muster.audit (id, txid, actor, action, namespace, job_ids) overriding system value "
        f"select -1, txid, 'mallory', 'submit', '', '{{}}' from muster.audit where id = {near}",
    )
    (finding,) = (await Verifier(sealed).verify()).findings
    assert (finding.kind, finding.place.id) == (Kind.INSERTED, -1)
    assert "inserted" in str(finding)


async def test_two_rows_that_changed_places_are_named(sealed: Database, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            b"update muster.audit a set actor = b.actor from muster.audit b where (a.id, b.id) in ((2, 3), (3, 2))"
        )
    findings = (await Verifier(sealed).verify()).findings
    assert [(finding.kind, finding.place.id) for finding in findings] == [(Kind.CHANGED, 2), (Kind.CHANGED, 3)]


async def test_a_seal_made_anew_over_a_changed_row_breaks_the_next_link(sealed: Database, database_url: str) -> None:
    tamper(database_url, "update muster.audit_seals set row_digests = row_digests || row_digests where number = 2")
    findings = (await Verifier(sealed).verify()).findings
    assert {finding.kind for finding in findings} >= {Kind.SEAL}
    assert {finding.seal for finding in findings} == {2}


async def test_a_missing_seal_is_seen(sealed: Database, database_url: str) -> None:
    tamper(database_url, "delete from muster.audit_seals where number = 2")
    findings = (await Verifier(sealed).verify()).findings
    assert any("missing" in finding.message for finding in findings)


async def test_an_end_that_was_cut_off_is_seen_by_who_has_kept_the_head(sealed: Database, database_url: str) -> None:
    head = await AuditTrail(sealed).head()
    assert head is not None
    tamper(database_url, "delete from muster.audit_seals where number = 3")
    assert (await Verifier(sealed).verify()).holds
    (finding,) = (await Verifier(sealed).verify(head)).findings
    assert finding.seal == 3
    assert not (await Verifier(sealed).verify(SealHead(2, b"other"))).holds


async def test_nothing_is_sealed_that_something_may_still_come_before(
    database: Database, submissions: Submissions, database_url: str
) -> None:
    """An open transaction has its id already: its rows will lie before those that are committed meanwhile."""
    sealer = Sealer(database)
    with psycopg.connect(database_url) as slow:
        slow.execute("insert into muster.audit (actor, action, namespace, job_ids) values ('slow', 'x', '', '{}')")
        await submissions.store([make_request()])
        assert await sealer.seal() is None
        slow.commit()
    seal = await sealer.seal()
    assert seal is not None and seal.count == 2
    assert (await Verifier(database).verify()).holds


async def test_one_sealer_works_at_a_time(database: Database, submissions: Submissions) -> None:
    await submissions.store([make_request()])
    sealer = Sealer(database)
    async with database.transaction() as other:
        await other.execute(b"select pg_try_advisory_xact_lock(%(lock)s)", {"lock": 7_305_216_114_002})
        assert await sealer.seal() is None
    assert await sealer.seal() is not None


async def test_the_trail_is_read_by_page_and_by_job(database: Database, submissions: Submissions, mover: Mover) -> None:
    job = make_job()
    await submissions.store([make_request(job), make_request(make_job(namespace="team-b"))])
    change = Change(job_id=job.id, target=JobPhase.HELD)
    await mover.move_one(change, Actor(name="bob", action="hold", details={"why": "maintenance"}))
    trail = AuditTrail(database)
    assert [row.action for row in await trail.of_job(job.id)] == ["submit", "hold"]
    newest, *older = await trail.page(("team-a",), most=10)
    assert (newest.actor, newest.source, newest.target) == ("bob", JobPhase.QUEUED, JobPhase.HELD)
    assert bytes(newest.details) == b'{"why":"maintenance"}'
    assert len(older) == 1 and len(await trail.page(None, most=10)) == 3
    assert await trail.page(("team-a",), 10, newest.place) == older
