"""The history of jobs: one row for each transition, in a partition for each month, dropped by age.

The submission has no row of its own: it is in the job's, which nobody changes. A job's version numbers its events.
"""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0002"
down_revision = "0001"

UP = """
create table muster.events (
    job_id uuid not null,
    version integer not null,
    time timestamptz not null default now(),
    namespace text collate "C" not null,
    source muster.job_phase not null,
    target muster.job_phase not null,
    reason text not null default '',
    message text not null default '',
    attempt integer not null default 0,
    actor text not null,
    primary key (job_id, version, time)
) partition by range (time);

create table muster.events_beyond partition of muster.events default;
comment on table muster.events_beyond is 'takes what has no partition yet, so that no transition fails for want of one';

create function muster.prepare_event_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, muster as $function$
declare
    first timestamptz;
    partition text;
    made integer := 0;
begin
    for step in 0..months_ahead loop
        first := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + make_interval(months => step);
        first := date_trunc('month', first at time zone 'UTC') at time zone 'UTC';
        partition := 'events_' || to_char(first at time zone 'UTC', 'YYYY_MM');
        continue when to_regclass('muster.' || partition) is not null;
        execute format('create table muster.%I (like muster.events including all)', partition);
        execute format(
            'with moved as (delete from muster.events_beyond where time >= %L and time < %L returning *)
             insert into muster.%I select * from moved',
            first, muster.month_after(first), partition);
        execute format(
            'alter table muster.events attach partition muster.%I for values from (%L) to (%L)',
            partition, first, muster.month_after(first));
        execute format('grant select on muster.%I to muster_readonly', partition);
        made := made + 1;
    end loop;
    return made;
end
$function$;

create function muster.month_after(first timestamptz) returns timestamptz language sql immutable as $function$
    select ((first at time zone 'UTC') + interval '1 month') at time zone 'UTC'
$function$;

create function muster.drop_event_partitions(before timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, muster as $function$
declare
    partition text;
    dropped integer := 0;
begin
    for partition in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'muster.events'::regclass and c.relname ~ '^events_[0-9]{4}_[0-9]{2}$'
    loop
        continue when muster.month_after(
            make_timestamptz(substr(partition, 8, 4)::integer, substr(partition, 13, 2)::integer, 1, 0, 0, 0, 'UTC')
        ) > before;
        execute format('drop table muster.%I', partition);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$function$;
comment on function muster.drop_event_partitions is 'drops the months that ended before; younger rows all stay';

revoke all on function muster.prepare_event_partitions, muster.drop_event_partitions from public;
grant execute on function muster.prepare_event_partitions, muster.drop_event_partitions to muster_app;
grant select, insert on muster.events to muster_app;
grant select on muster.events to muster_readonly;

select muster.prepare_event_partitions(2);
"""

DOWN = """
drop function muster.drop_event_partitions(timestamptz);
drop function muster.prepare_event_partitions(integer);
drop function muster.month_after(timestamptz);
drop table muster.events;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
