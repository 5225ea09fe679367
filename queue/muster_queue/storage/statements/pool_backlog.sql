-- A page of the jobs of pools of one queue.
select j.id, j.namespace, j.queue, j.execution, j.priority, j.attempt, j.queued_at, j.created_at, j.phase
from muster.jobs j
where j.shelf = 0 and j.execution = 'pool' and j.namespace = %(namespace)s::text and j.queue = %(queue)s::text
    and j.id > %(id)s::uuid
order by j.id limit %(most)s
