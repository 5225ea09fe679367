-- Prolongs the leases of open attempts; answers with those that their holder still has.
-- beats: array of {id, attempt, progress, holder (or null: the one of all)}.
-- Planned while the tables are empty and kept: an equality written as an array of one can only be looked up by key, and
-- a condition that a partial index has too is written as coalesce, so that no index is read whole.
with incoming as materialized (
    select * from json_to_recordset(%(beats)s::json) as (
        id uuid, attempt integer, progress real, holder text
    )
)
update muster.dispatches d set
    lease_until = now() + %(lease_seconds)s::double precision * interval '1 second',
    progress = coalesce(i.progress, d.progress)
from incoming i
where d.job_id = any (array[i.id])
    and d.attempt = i.attempt and coalesce(d.ended_at, 'infinity') = 'infinity'
    and d.holder = coalesce(i.holder, %(holder)s::text)
returning d.job_id, d.attempt
