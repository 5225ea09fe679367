"""The audit trail, its seals, and the only way in which old jobs leave the database."""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0004"
down_revision = "0003"

UP = """
create table muster.audit (
    id bigint generated always as identity,
    txid xid8 not null default pg_current_xact_id(),
    time timestamptz not null default now(),
    actor text not null,
    action text not null,
    namespace text collate "C" not null,
    job_ids uuid[] not null,
    source muster.job_phase,
    target muster.job_phase,
    details json,
    primary key (txid, id)
);
-- As in the outbox: compressing ids costs much and saves little.
alter table muster.audit alter column job_ids set storage external;
create index audit_by_time on muster.audit (time);
comment on table muster.audit is 'who did what; one row for all the jobs that one transaction moved alike';

create table muster.audit_seals (
    number bigint primary key,
    first_txid xid8 not null,
    first_id bigint not null,
    last_txid xid8 not null,
    last_id bigint not null,
    rows integer not null,
    row_digests bytea not null,
    previous_digest bytea not null,
    digest bytea not null,
    sealed_at timestamptz not null default now()
);
comment on column muster.audit_seals.row_digests is 'for each row its id in 8 bytes and the SHA-256 of its text';

create function muster.forget_jobs(gone_before timestamptz, most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, muster as $function$
declare
    forgotten uuid[];
begin
    with taken as (
        delete from muster.jobs where id in (
            select id from muster.jobs where gone_at < gone_before order by gone_at limit most
        ) returning id
    )
    select array_agg(id) into forgotten from taken;
    delete from muster.job_labels where job_id = any (forgotten);
    delete from muster.dispatches where job_id = any (forgotten);
    return coalesce(cardinality(forgotten), 0);
end
$function$;

-- Neither id nor txid nor time can be chosen by who writes, and nothing can be changed or taken away.
grant select, insert (actor, action, namespace, job_ids, source, target, details) on muster.audit to muster_app;
grant select, insert (number, first_txid, first_id, last_txid, last_id, rows, row_digests, previous_digest, digest)
    on muster.audit_seals to muster_app;
revoke all on function muster.forget_jobs from public;
grant execute on function muster.forget_jobs to muster_app;
grant select on muster.audit, muster.audit_seals to muster_readonly;
"""

DOWN = """
drop function muster.forget_jobs(timestamptz, integer);
drop table muster.audit_seals, muster.audit;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
