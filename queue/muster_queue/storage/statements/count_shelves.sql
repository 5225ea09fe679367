-- How many jobs wait, run or are dead letters, by queue, and the oldest of each: from the index alone.
select j.shelf, j.namespace, j.queue, count(*), min(j.id::text)::uuid
from muster.jobs j
where j.shelf = any (array[0, 1, 4]::smallint[])
    and (%(namespaces)s::text[] is null or j.namespace = any (%(namespaces)s::text[]))
group by j.shelf, j.namespace, j.queue
