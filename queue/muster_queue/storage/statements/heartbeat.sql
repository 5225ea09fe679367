-- Prolongs the leases of open attempts of one holder; answers with those that it still holds.
-- beats: array of {id, attempt, progress}.
-- Planned while the tables are empty and kept: an equality written as an array of one can only be looked up by key, and
-- a condition that a partial index has too is written as coalesce, so that no index is read whole.
with incoming as materialized (
    select * from json_to_recordset(%(beats)s::json) as (id uuid, attempt integer, progress real)
)
update muster.dispatches d set
    lease_until = now() + %(lease_seconds)s::double precision * interval '1 second',
    progress = coalesce(i.progress, d.progress)
from incoming i
where d.job_id = any (array[i.id])
    and d.attempt = i.attempt and coalesce(d.ended_at, 'infinity') = 'infinity' and d.holder = %(holder)s
returning d.job_id, d.attempt
