-- Since when the longest waiting job without an AIJob waits, and the one that goes next in its queue, over all queues.
with recursive queues (namespace, queue) as (
    (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
        order by j.namespace, j.queue limit 1
    )
    union all
    select n.namespace, n.queue from queues q cross join lateral (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
            and (j.namespace, j.queue) > (q.namespace, q.queue)
        order by j.namespace, j.queue limit 1
    ) n
)
select coalesce(extract(epoch from now() - min(head.created_at)), 0)::double precision
from queues q cross join lateral (
    select j.created_at from muster.jobs j
    where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
        and j.namespace = q.namespace and j.queue = q.queue and j.phase = 'Queued'
    order by j.priority desc, j.created_at, j.id limit 1
) head
