"""The order in which a pool's jobs are taken, for when the index is away, and for what it has lost."""

from __future__ import annotations

from muster_queue.storage.migrations.execution import run_sql

revision = "0005"
down_revision = "0004"

UP = """
create index jobs_of_pools on muster.jobs (namespace, queue, priority desc, id) where shelf = 0 and execution = 'pool';
comment on index muster.jobs_of_pools is 'has what runs too: so a claim changes no column of it, and stays on its page';
"""

DOWN = """
drop index muster.jobs_of_pools;
"""


def upgrade() -> None:
    run_sql(UP)


def downgrade() -> None:
    run_sql(DOWN)
