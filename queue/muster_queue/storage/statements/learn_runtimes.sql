-- Works the runtimes out anew from the newest attempts that succeeded.
insert into muster.runtimes (namespace, queue, job_type, samples, median_seconds, p90_seconds, updated_at)
select d.namespace, d.queue, j.job_type, count(*),
    percentile_cont(0.5) within group (order by extract(epoch from d.ended_at - d.started_at)),
    percentile_cont(0.9) within group (order by extract(epoch from d.ended_at - d.started_at)),
    now()
from (select * from muster.dispatches where job_id >= %(since)s order by job_id desc limit %(most)s) d
join muster.jobs j on j.id = d.job_id
where d.outcome = 'Succeeded'
group by d.namespace, d.queue, j.job_type
on conflict (namespace, queue, job_type) do update set
    samples = excluded.samples, median_seconds = excluded.median_seconds, p90_seconds = excluded.p90_seconds,
    updated_at = excluded.updated_at
returning 1
