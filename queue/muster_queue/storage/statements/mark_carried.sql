-- Forgets wishes that the AIJobs say by now, unless somebody has changed the job since. carried: array of {id, version}.
with incoming as materialized (
    select * from json_to_recordset(%(carried)s::json) as (id uuid, version integer)
)
update muster.jobs j set wishes = 0 from incoming i
where j.id = any (array[i.id]) and j.version = i.version
returning j.id
