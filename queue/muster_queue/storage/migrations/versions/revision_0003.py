"""What jobs have used, and how long such jobs take."""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0003"
down_revision = "0002"

UP = """
create table muster.usage (
    job_id uuid not null,
    attempt integer not null,
    namespace text collate "C" not null,
    queue text collate "C" not null,
    gpus integer not null check (gpus > 0),
    started_at timestamptz not null,
    ended_at timestamptz not null,
    gpu_seconds double precision not null
        generated always as (gpus * extract(epoch from (ended_at - started_at))::double precision) stored,
    primary key (job_id, attempt)
);
create index usage_by_queue on muster.usage (namespace, queue, ended_at);
comment on table muster.usage is 'one row for each attempt that held GPUs, from its dispatch to its end';

create table muster.runtimes (
    namespace text collate "C" not null,
    queue text collate "C" not null,
    job_type text collate "C" not null,
    samples integer not null,
    median_seconds double precision not null,
    p90_seconds double precision not null,
    updated_at timestamptz not null default now(),
    primary key (namespace, queue, job_type)
);
comment on table muster.runtimes is 'how long attempts that succeeded took, worked out now and then';

grant select, insert on muster.usage to muster_app;
grant select, insert, update on muster.runtimes to muster_app;
grant select on muster.usage, muster.runtimes to muster_readonly;
"""

DOWN = """
drop table muster.runtimes, muster.usage;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
