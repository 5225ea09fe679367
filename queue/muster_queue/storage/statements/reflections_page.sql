-- All jobs that have an AIJob, a page at a time.
select
    j.id, j.namespace, j.name, j.phase, j.version, j.attempt, j.priority, j.reason, j.message, j.wishes, j.object_uid,
    j.queued_at, j.gone_at is not null as is_gone, coalesce(d.holder, '') as holder
from muster.jobs j left join muster.dispatches d on d.job_id = any (array[j.id]) and d.attempt = j.attempt
where j.object_uid is not null and j.gone_at is null and j.id > %(after)s
order by j.id limit %(most)s
