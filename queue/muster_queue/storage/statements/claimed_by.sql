-- Which jobs these holders have: what became of a claim whose answer was lost.
-- candidates: array of {id, holder}.
with incoming as materialized (
    select * from json_to_recordset(%(candidates)s::json) as (id uuid, holder text)
)
select
    j.id, j.namespace, j.name, j.queue, j.job_type, j.execution, j.priority, j.version, j.attempt, j.retries, j.spec,
    j.trace, j.created_at, j.queued_at, d.started_at, d.holder
from incoming i
join muster.jobs j on j.id = any (array[i.id])
join muster.dispatches d on d.job_id = any (array[i.id]) and d.attempt = j.attempt
where d.holder = i.holder and coalesce(d.ended_at, 'infinity') = 'infinity'
