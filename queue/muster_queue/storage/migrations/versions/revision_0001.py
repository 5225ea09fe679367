"""Jobs, their attempts, idempotency keys and the outbox.

The tables have no foreign keys: each would lock the job's row on every insert, and rows are only taken away by the
functions of revision 0004.
"""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0001"
down_revision = None

UP = """
create type muster.job_phase as enum (
    'Pending', 'Queued', 'Scheduled', 'Running', 'Succeeded', 'Failed', 'Retrying', 'DeadLetter', 'Held', 'Cancelled'
);

create table muster.jobs (
    id uuid primary key,
    namespace text collate "C" not null,
    name text collate "C" not null,
    job_type text collate "C" not null,
    queue text collate "C" not null,
    cluster text collate "C" not null,
    execution text collate "C" not null,
    priority smallint not null check (priority between 0 and 100),
    phase muster.job_phase not null,
    previous_phase muster.job_phase,
    shelf smallint not null,
    reason text not null default '',
    message text not null default '',
    version integer not null default 1,
    attempt integer not null default 0,
    retries integer not null default 0,
    labels json,
    spec json not null,
    submitter text not null,
    trace text,
    object_uid text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    wake_at timestamptz,
    gone_at timestamptz
) with (
    -- Room for one more version of each row: a claim then touches no index. The table gets no larger, as every job is
    -- claimed; without it most claims put their row onto another page, and into three indexes.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05
);
comment on column muster.jobs.shelf is 'the phase, coarsely: Queued to Running leaves it alone and so touches no index';
comment on column muster.jobs.wake_at is 'when somebody must look at the job: back-off over, waited or run too long';
comment on column muster.jobs.gone_at is 'when its object was deleted: its name is free again, its history stays';

create unique index jobs_by_name on muster.jobs (namespace, name) where gone_at is null;
create index jobs_by_shelf on muster.jobs (shelf, namespace, queue, id);
create index jobs_to_wake on muster.jobs (wake_at) where wake_at is not null;
create index jobs_gone on muster.jobs (gone_at) where gone_at is not null;

create table muster.job_labels (
    namespace text collate "C" not null,
    label text collate "C" not null,
    job_id uuid not null,
    primary key (namespace, label, job_id)
);
create index job_labels_by_job on muster.job_labels (job_id);
comment on column muster.job_labels.label is 'key=value';

create table muster.dispatches (
    job_id uuid not null,
    attempt integer not null,
    namespace text collate "C" not null,
    queue text collate "C" not null,
    holder text collate "C" not null,
    gpus integer not null default 0,
    started_at timestamptz not null default now(),
    lease_until timestamptz,
    progress real,
    ended_at timestamptz,
    outcome muster.job_phase,
    failure text,
    exit_code integer,
    message text,
    result json,
    primary key (job_id, attempt)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
create index dispatches_open on muster.dispatches (namespace, queue, job_id) where ended_at is null;
create index dispatches_leased on muster.dispatches (lease_until) where ended_at is null and lease_until is not null;

create table muster.idempotency_keys (
    tenant text collate "C" not null,
    key text collate "C" not null,
    fingerprint bytea not null,
    job_ids uuid[] not null,
    created_at timestamptz not null default now(),
    primary key (tenant, key)
);
create index idempotency_keys_by_age on muster.idempotency_keys (created_at);

create table muster.outbox (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    job_ids uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- Ids hardly get smaller by compressing them, and trying it costs a tenth of a large commit.
alter table muster.outbox alter column job_ids set storage external;
comment on table muster.outbox is 'jobs that the index has to look at again; one row for each commit';

create function muster.refuse_race() returns boolean language plpgsql as $function$
begin
    raise exception 'another transaction took a name of this request meanwhile' using errcode = '40001';
end
$function$;
comment on function muster.refuse_race is 'undoes the whole statement in the way that makes the caller repeat it';

grant select, insert, update on muster.jobs, muster.dispatches to muster_app;
grant select, insert on muster.job_labels to muster_app;
grant select, insert, delete on muster.idempotency_keys, muster.outbox to muster_app;
grant select on muster.jobs, muster.job_labels, muster.dispatches to muster_readonly;
"""

DOWN = """
drop function muster.refuse_race();
drop table muster.outbox, muster.idempotency_keys, muster.dispatches, muster.job_labels, muster.jobs;
drop type muster.job_phase;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
