-- The best jobs of each queue that wait and have no AIJob yet, best first: the index is stepped through by queue.
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
select page.* from queues q cross join lateral (
    select j.id, j.namespace, j.queue, j.priority, j.created_at from muster.jobs j
    where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
        and j.namespace = q.namespace and j.queue = q.queue and j.phase = 'Queued'
    order by j.priority desc, j.created_at, j.id limit %(most)s
) page
