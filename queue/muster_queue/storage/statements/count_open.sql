-- How many attempts are open, by queue.
select d.namespace, d.queue, count(*) from muster.dispatches d
where d.ended_at is null and (%(namespaces)s::text[] is null or d.namespace = any (%(namespaces)s::text[]))
group by d.namespace, d.queue
