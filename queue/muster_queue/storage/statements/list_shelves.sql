-- The newest jobs of some namespaces and phases, a page at a time. Each of the stretches of the index that can hold one
-- (shelf, namespace, queue) gives its newest, and the newest of those are the page: none is read further than a page.
with recursive
namespaces (shelf, namespace) as (
    select s.shelf, n.namespace
    from unnest(%(shelves)s::smallint[]) as s (shelf), unnest(%(namespaces)s::text[]) as n (namespace)
    where %(namespaces)s::text[] is not null
    union all
    select * from (
        with recursive found (shelf, namespace) as (
            select s.shelf, (
                select j.namespace from muster.jobs j where j.shelf = s.shelf order by j.namespace limit 1
            )
            from unnest(%(shelves)s::smallint[]) as s (shelf)
            where %(namespaces)s::text[] is null
            union all
            select f.shelf, (
                select j.namespace from muster.jobs j
                where j.shelf = f.shelf and j.namespace > f.namespace order by j.namespace limit 1
            )
            from found f where f.namespace is not null
        )
        select shelf, namespace from found where namespace is not null
    ) everywhere
),
queues (shelf, namespace, queue) as (
    select n.shelf, n.namespace, coalesce(%(queue)s::text, (
        select j.queue from muster.jobs j
        where j.shelf = n.shelf and j.namespace = n.namespace order by j.queue limit 1
    ))
    from namespaces n
    union all
    select q.shelf, q.namespace, (
        select j.queue from muster.jobs j
        where j.shelf = q.shelf and j.namespace = q.namespace and j.queue > q.queue order by j.queue limit 1
    )
    from queues q where q.queue is not null and %(queue)s::text is null
)
select page.* from queues q cross join lateral (
    select j.* from muster.jobs j
    where j.shelf = q.shelf and j.namespace = q.namespace and j.queue = q.queue
        and j.id < %(before)s and j.id >= %(since)s
        and j.phase = any (%(phases)s::muster.job_phase[])
        and (%(job_type)s::text is null or j.job_type = %(job_type)s)
        and (%(with_gone)s or j.gone_at is null)
    order by j.id desc limit %(most)s
) page
where q.queue is not null
order by page.id desc limit %(most)s
