-- Queued jobs in the order of the index, after the place where the last page ended: what the index is rebuilt from.
select j.id, j.namespace, j.queue, j.execution, j.priority, j.attempt, j.queued_at, j.created_at, j.phase
from muster.jobs j
where j.shelf = 0 and (j.namespace, j.queue, j.id) > (%(namespace)s::text, %(queue)s::text, %(id)s::uuid)
order by j.namespace, j.queue, j.id limit %(most)s
