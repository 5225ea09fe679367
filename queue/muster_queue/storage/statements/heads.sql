-- The job that goes next in each queue: of those without an AIJob, and of those that pools run. Both indexes are stepped
-- through by queue.
with recursive pod_queues (namespace, queue) as (
    (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
        order by j.namespace, j.queue limit 1
    )
    union all
    select n.namespace, n.queue from pod_queues q cross join lateral (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
            and (j.namespace, j.queue) > (q.namespace, q.queue)
        order by j.namespace, j.queue limit 1
    ) n
),
pool_queues (namespace, queue) as (
    (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pool'
        order by j.namespace, j.queue limit 1
    )
    union all
    select n.namespace, n.queue from pool_queues q cross join lateral (
        select j.namespace, j.queue from muster.jobs j
        where j.shelf = 0 and j.execution = 'pool'
            and (j.namespace, j.queue) > (q.namespace, q.queue)
        order by j.namespace, j.queue limit 1
    ) n
)
select head.* from pod_queues q cross join lateral (
    select j.id, j.namespace, j.queue, j.priority, j.created_at from muster.jobs j
    where j.shelf = 0 and j.execution = 'pod' and j.object_uid is null
        and j.namespace = q.namespace and j.queue = q.queue and j.phase = 'Queued'
    order by j.priority desc, j.created_at, j.id limit 1
) head
union all
select head.* from pool_queues q cross join lateral (
    select j.id, j.namespace, j.queue, j.priority, j.created_at from muster.jobs j
    where j.shelf = 0 and j.execution = 'pool'
        and j.namespace = q.namespace and j.queue = q.queue and j.phase = 'Queued'
    order by j.priority desc, j.id limit 1
) head
