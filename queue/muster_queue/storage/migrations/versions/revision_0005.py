"""What the leader looks for: jobs to make AIJobs of, those that it has made, and wishes to carry to them."""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0005"
down_revision = "0004"

UP = """
alter table muster.jobs add column wishes smallint not null default 0;
comment on column muster.jobs.wishes is 'what its AIJob has not been told yet: 1 priority, 2 phase, 4 retry';

-- None of these has the phase in it: Queued to Running still touches no index.
create index jobs_to_materialise on muster.jobs (namespace, queue, priority desc, created_at, id)
    where shelf = 0 and execution = 'pod' and object_uid is null;
create index jobs_materialised on muster.jobs (id) where object_uid is not null and gone_at is null;
create index jobs_wished on muster.jobs (id) where wishes <> 0;
"""

DOWN = """
drop index muster.jobs_wished, muster.jobs_materialised, muster.jobs_to_materialise;
alter table muster.jobs drop column wishes;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
