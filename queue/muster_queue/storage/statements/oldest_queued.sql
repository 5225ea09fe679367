-- The oldest queued job of each of these queues; before it only those that run are passed over.
select p.namespace, p.queue, oldest.created_at
from unnest(%(namespaces)s::text[], %(queues)s::text[]) as p (namespace, queue)
cross join lateral (
    select j.created_at from muster.jobs j
    where j.shelf = 0 and j.namespace = p.namespace and j.queue = p.queue and j.phase = 'Queued'
    order by j.id limit 1
) oldest
