-- Why jobs are where they are, in the words of their AIJobs: no transition, so no event. told: {id, version, reason,
-- message}.
with incoming as materialized (
    select * from json_to_recordset(%(told)s::json) as (id uuid, version integer, reason text, message text)
)
update muster.jobs j set reason = i.reason, message = i.message from incoming i
where j.id = any (array[i.id]) and j.version = i.version
returning j.id
