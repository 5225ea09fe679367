-- What the index has to know of some jobs, whatever their phase.
select j.id, j.namespace, j.queue, j.execution, j.priority, j.attempt, j.queued_at, j.created_at, j.phase
from muster.jobs j where j.id = any (%(ids)s)
