-- Remembers which AIJob stands for a job. No transition: neither its version nor its history changes. From here on the
-- AIJob's own time limits hold. made: array of {id, uid, is_ours}; answers with the jobs that are there.
with incoming as materialized (
    select * from json_to_recordset(%(made)s::json) as (id uuid, uid text, is_ours boolean)
)
update muster.jobs j set
    object_uid = i.uid, wake_at = null, wishes = case when i.is_ours then j.wishes | 3 else j.wishes end
from incoming i
where j.id = any (array[i.id]) and coalesce(j.gone_at, 'infinity') = 'infinity'
returning j.id
