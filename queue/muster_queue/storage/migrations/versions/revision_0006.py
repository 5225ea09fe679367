"""The order in which a pool's jobs are taken, for when the index is away, and for what it has lost."""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0006"
down_revision = "0005"

UP = """
create index jobs_of_pools_in_order on muster.jobs (namespace, queue, priority desc, id)
    where shelf = 0 and execution = 'pool';
comment on index muster.jobs_of_pools_in_order is 'has what runs too: so a claim changes no column of it';
"""

DOWN = """
drop index muster.jobs_of_pools_in_order;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
