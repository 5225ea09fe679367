-- What waits in a pool, in the order in which it is handed out: what is taken while the index is away, or has lost it.
-- Shelf 0 is what is queued or runs; what runs is passed over.
select j.id, j.priority, j.attempt, coalesce(j.queued_at, j.created_at)
from muster.jobs j
where j.shelf = 0 and j.execution = 'pool' and j.namespace = %(namespace)s and j.queue = %(queue)s
    and j.phase = 'Queued' and (%(job_types)s::text[] is null or j.job_type = any (%(job_types)s))
order by j.priority desc, j.id limit %(most)s
