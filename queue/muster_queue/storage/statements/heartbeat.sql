-- Prolongs the leases of open attempts of one holder; answers with those that it still holds.
-- beats: array of {id, attempt, progress}.
with incoming as materialized (
    select * from json_to_recordset(%(beats)s::json) as (id uuid, attempt integer, progress real)
)
update muster.dispatches d set
    lease_until = now() + %(lease_seconds)s::double precision * interval '1 second',
    progress = coalesce(i.progress, d.progress)
from incoming i
where d.job_id = i.id and d.attempt = i.attempt and d.ended_at is null and d.holder = %(holder)s
returning d.job_id, d.attempt
