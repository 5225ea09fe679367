"""Every statement that runs often finds its rows by an index, with a million jobs there: a plan that scans fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from bones.postgres import PostgresServer
from muster_api.phases import JobPhase
from muster_queue.storage.database import SESSION
from muster_queue.storage.jobs import GREATEST_ID, LEAST_ID
from muster_queue.storage.statements import statement

JOBS = 1_000_000
OPTIONS = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
HOTTEST = frozenset({"submit", "look_up_keys", "claim", "move", "heartbeat", "get_job", "get_jobs", "standing"})
"""Statements of every submission, dispatch and end of a job."""
MOST_BUFFERS = 2_500
"""Pages of 8 KiB that a statement may touch: a few for each row that it returns, never a table's."""

FILL = f"""
insert into muster.jobs (
    id, namespace, name, job_type, queue, cluster, execution, priority, phase, shelf, attempt, spec, submitter, wake_at
)
select
    ('01980000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'team-' || n % 5, 'job-' || n,
    (array['training', 'inference', 'simulation'])[1 + n % 3], 'queue-' || n % 3, '',
    case when n % 3 = 0 then 'pod' else 'pool' end, n % 100,
    (case when n % 1000 = 0 then 'Running' when n % 1000 = 1 then 'Held' when n % 1000 = 2 then 'DeadLetter'
        when n % 2 = 0 then 'Succeeded' else 'Queued' end)::muster.job_phase,
    case when n % 1000 = 1 then 1 when n % 1000 = 2 then 4 when n % 1000 <> 0 and n % 2 = 0 then 2 else 0 end,
    case when n % 2 = 0 then 1 else 0 end, '{{}}', 'ada',
    case when n % 5000 = 1 then now() + n * interval '1 second' end
from generate_series(1, {JOBS}) n;

insert into muster.dispatches (job_id, attempt, namespace, queue, holder, lease_until, ended_at, outcome)
select id, 1, namespace, queue, 'worker', now() + interval '1 hour',
    case when phase = 'Succeeded' then now() end, case when phase = 'Succeeded' then phase end
from muster.jobs where attempt = 1;

insert into muster.events (job_id, version, namespace, source, target, actor)
select id, 2, namespace, 'Queued', 'Running', 'pool' from muster.jobs where attempt = 1;

insert into muster.audit (actor, action, namespace, job_ids)
select 'ada', 'submit', 'team-' || n % 5, array[gen_random_uuid()] from generate_series(1, 100000) n;

insert into muster.job_labels (namespace, label, job_id)
select namespace, 'team=' || case when version = 1 and priority = 7 then 'rare' else 'vision' end, id
from muster.jobs where priority < 20;

insert into muster.idempotency_keys (tenant, key, fingerprint, job_ids)
select 'team-a', 'key-' || n, '\\x00', '{{}}' from generate_series(1, 100000) n;

insert into muster.outbox (job_ids) select array[gen_random_uuid()] from generate_series(1, 10000);
"""

SOME = [UUID(f"01980000-0000-7000-8000-{number:012x}") for number in range(3, 60_003, 3_000)]
QUEUED = '{"id":"01980000-0000-7000-8000-000000000003","attempt":1}'
CLAIM = {"candidates": f"[{QUEUED}]", "holder": "w", "actor": "p", "lease_seconds": 30.0, "target": "Running"}
POOL = {"namespace": "team-1", "queue": "queue-1", "job_types": ["inference"]}
LISTING: dict[str, Any] = {
    "namespaces": ["team-1"],
    "shelves": [0, 1, 2, 3, 4, 5],
    "phases": [str(phase) for phase in JobPhase],
    "queue": None,
    "job_type": None,
    "label": None,
    "labels": [],
    "before": GREATEST_ID,
    "since": LEAST_ID,
    "with_gone": False,
    "most": 50,
}
MOVE = (
    '[{"id":"01980000-0000-7000-8000-000000000003","sources":["Queued"],"target":"Held","shelf":1},'
    '{"id":"01980000-0000-7000-8000-0000000003e8","attempt":1,"holder":"worker","sources":["Running"],'
    '"target":"Succeeded","shelf":2,"is_end":true}]'
)
NEW = (
    '[{"id":"01990000-0000-7000-8000-000000000001","namespace":"team-1","name":"new","is_named":true,"tenant":"t",'
    '"key":"k","job_type":"training","queue":"q","cluster":"","execution":"pod","priority":5,"phase":"Queued",'
    '"shelf":0,"labels":{"a":"b"},"spec":{},"submitter":"ada"}]'
)
KEY = '[{"tenant":"t","key":"k","fingerprint":"00","job_ids":["01990000-0000-7000-8000-000000000001"]}]'

HOT: list[Any] = [
    pytest.param("submit", {"jobs": NEW, "keys": KEY, "careful": True}, id="a submission"),
    pytest.param("look_up_keys", {"tenants": ["team-a"], "keys": ["key-7"]}, id="an idempotency key"),
    pytest.param("forget_keys", {"seconds": 3600.0, "most": 100}, id="old keys"),
    pytest.param("move", {"changes": MOVE, "actor": "a", "action": "b", "details": None}, id="a transition"),
    pytest.param(
        "claim",
        CLAIM | {"namespace": None, "queue": None, "job_types": None},
        id="a claim",
    ),
    pytest.param("claim", CLAIM | POOL, id="a claim of a pool"),
    pytest.param("pool_candidates", POOL | {"most": 100}, id="what a pool has"),
    pytest.param("claimed_by", {"candidates": f"[{QUEUED}]"}, id="a claim in doubt"),
    pytest.param("settled", {"ids": SOME}, id="attempts that have ended"),
    pytest.param(
        "heartbeat",
        {"beats": '[{"id":"01980000-0000-7000-8000-0000000003e8","attempt":1}]', "holder": "w", "lease_seconds": 30.0},
        id="a heartbeat",
    ),
    pytest.param("expired", {"most": 100}, id="leases that are over"),
    pytest.param("due", {"most": 100}, id="jobs to wake"),
    pytest.param("get_job", {"id": SOME[0]}, id="a job"),
    pytest.param("get_jobs", {"ids": SOME}, id="some jobs"),
    pytest.param("get_job_by_name", {"namespace": "team-1", "name": "job-1"}, id="a job by its name"),
    pytest.param("attempts", {"id": SOME[0], "most": 10}, id="attempts of a job"),
    pytest.param("list_shelves", LISTING, id="jobs of a namespace"),
    pytest.param("list_shelves", {**LISTING, "namespaces": None}, id="jobs of all namespaces"),
    pytest.param(
        "list_shelves", {**LISTING, "namespaces": None, "shelves": [4], "phases": ["DeadLetter"]}, id="dead letters"
    ),
    pytest.param(
        "list_shelves", {**LISTING, "shelves": [1], "phases": ["Held"], "queue": "queue-1"}, id="held jobs of a queue"
    ),
    pytest.param(
        "list_shelves", {**LISTING, "shelves": [3], "phases": ["Failed"]}, id="failed jobs, of which there are none"
    ),
    pytest.param("list_started", {**LISTING, "phases": ["Running"]}, id="running jobs"),
    pytest.param("list_labelled", {**LISTING, "label": "team=rare"}, id="jobs with a rare label"),
    pytest.param("list_labelled", {**LISTING, "label": "team=vision"}, id="jobs with a frequent label"),
    pytest.param("namespaces", {}, id="namespaces with labels"),
    pytest.param("backlog", {"namespace": "team-2", "queue": "queue-1", "id": SOME[5], "most": 500}, id="the backlog"),
    pytest.param("standing", {"ids": SOME}, id="what the index asks about jobs"),
    pytest.param("outbox_pending", {"seconds": 0.0, "most": 100}, id="the outbox"),
    pytest.param("outbox_settle", {"ids": [1, 2, 3]}, id="settling the outbox"),
    pytest.param("outbox_depth", {}, id="how full the outbox is"),
    pytest.param("pod_candidates", {"most": 200}, id="the best jobs without an AIJob"),
    pytest.param("heads", {}, id="the heads of the queues"),
    pytest.param("reflections", {"ids": SOME}, id="jobs beside their AIJobs"),
    pytest.param("reflections_page", {"after": SOME[0], "most": 100}, id="all jobs that have an AIJob"),
    pytest.param("reflections_wished", {"after": LEAST_ID, "most": 100}, id="wishes that are to be carried"),
    pytest.param("mark_made", {"made": f'[{{"id":"{SOME[0]}","uid":"u","is_ours":true}}]'}, id="an AIJob is made"),
    pytest.param("mark_carried", {"carried": f'[{{"id":"{SOME[0]}","version":1}}]'}, id="a wish is carried"),
    pytest.param(
        "mark_told", {"told": f'[{{"id":"{SOME[0]}","version":1,"reason":"r","message":"m"}}]'}, id="a reason is told"
    ),
    pytest.param(
        "pool_backlog",
        {"namespace": "team-2", "queue": "queue-1", "priority": 50, "id": SOME[5], "most": 500},
        id="a pool's backlog",
    ),
    pytest.param("pool_leased", {}, id="leases by queue"),
    pytest.param("leases_of", {"ids": SOME}, id="leases of some jobs"),
    pytest.param("seal_head", {}, id="the last seal"),
    pytest.param(
        "audit_digests",
        {"after_txid": "0", "after_id": 0, "to_txid": "9223372036854775807", "to_id": 0, "most": 100},
        id="rows to seal",
    ),
    pytest.param(
        "list_audit",
        {"txid": "9223372036854775807", "id": 0, "namespaces": None, "most": 50},
        id="the newest audit rows",
    ),
]


@pytest.fixture(scope="module")
def full_url(postgres: PostgresServer, database_template: str) -> Iterator[str]:
    """A million jobs, made once for all of these tests."""
    name = postgres.create_database(database_template)
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute(FILL.encode())
        connection.execute("vacuum analyze")
    yield postgres.url(name)
    postgres.drop_database(name)


def explain(connection: psycopg.Connection[Any], name: str, parameters: dict[str, Any]) -> str:
    """The plan as it ran, undone at once."""
    with connection.transaction(force_rollback=True):
        rows = connection.execute(b"explain (analyze, buffers, costs off) " + statement(name), parameters).fetchall()
    return "\n".join(line for (line,) in rows)


def buffers(plan: str) -> int:
    """Pages that the whole statement has touched: what its topmost node says."""
    found = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", plan)
    return sum(int(part or 0) for part in found.groups()) if found else 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "parameters"), HOT)
def test_it_stays_on_its_indexes(full_url: str, name: str, parameters: dict[str, Any]) -> None:
    with psycopg.connect(full_url, options="-c jit=off") as connection:
        plan = explain(connection, name, parameters)
    scanned = [table for table in re.findall(r"Seq Scan on (\w+)", plan) if table != "audit_seals"]
    assert scanned == [], plan
    assert buffers(plan) < MOST_BUFFERS, plan


@pytest.mark.timeout(600)
def test_history_reads_only_the_partitions_that_can_hold_it(full_url: str) -> None:
    with psycopg.connect(full_url) as connection:
        ((since,),) = connection.execute("select date_trunc('month', now()) + interval '1 day'").fetchall()
        parameters = {"id": SOME[0], "after": 1, "since": since, "most": 100}
        plan = explain(connection, "history", parameters)
    # The months to come are empty, and reading an empty table is what the planner rightly prefers.
    scanned = [found for found in re.findall(r"Scan .*on events_(\d{4}_\d{2})", plan) if found < f"{since:%Y_%m}"]
    assert scanned == [] and f"Seq Scan on events_{since:%Y_%m}" not in plan and buffers(plan) < 50, plan


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "parameters"), HOT)
def test_it_stays_there_as_the_application_asks(full_url: str, name: str, parameters: dict[str, Any]) -> None:
    with psycopg.connect(full_url, options=OPTIONS) as connection:
        plan = explain(connection, name, parameters)
    assert buffers(plan) < MOST_BUFFERS, plan


@pytest.mark.parametrize(("name", "parameters"), [hot for hot in HOT if hot.values[0] in HOTTEST])
def test_a_plan_that_was_made_for_empty_tables_is_good_for_full_ones(
    database_url: str, name: str, parameters: dict[str, Any]
) -> None:
    """A service prepares its statements at its start and keeps them: each table is found by a key even then."""
    with psycopg.connect(database_url, options=OPTIONS) as connection:
        lines = explain(connection, name, parameters).splitlines()
    for line, following in pairwise([*lines, ""]):
        assert "Seq Scan" not in line, "\n".join(lines)
        whole = re.search(r"Index .*Scan .*using \w+ on", line) and "Index Cond" not in following
        assert not whole, "\n".join(lines)


def test_counting_reads_the_index_alone(full_url: str) -> None:
    with psycopg.connect(full_url) as connection:
        plan = explain(connection, "count_shelves", {"namespaces": None})
    assert "Index Only Scan" in plan, plan
