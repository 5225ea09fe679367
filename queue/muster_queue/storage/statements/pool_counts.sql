-- How many jobs of pools each queue has that are queued, scheduled or running: from one index alone.
select j.namespace, j.queue, count(*) from muster.jobs j
where j.shelf = 0 and j.execution = 'pool'
group by j.namespace, j.queue
