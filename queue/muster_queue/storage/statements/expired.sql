-- Open attempts whose lease is over, the longest first.
select d.job_id, d.attempt, d.holder, d.lease_until, d.started_at, j.retries, j.spec
from muster.dispatches d join muster.jobs j on j.id = d.job_id
where d.ended_at is null and d.lease_until is not null and d.lease_until < now()
order by d.lease_until limit %(most)s
