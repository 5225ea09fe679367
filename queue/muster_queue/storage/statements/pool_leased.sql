-- How many attempts are leased, by queue.
select d.namespace, d.queue, count(*) from muster.dispatches d
where d.ended_at is null and d.lease_until is not null
group by d.namespace, d.queue
