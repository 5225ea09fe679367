-- The open leases of some jobs, with the seconds that they have left.
select d.job_id, d.attempt, extract(epoch from d.lease_until - now())::double precision
from muster.dispatches d
where d.job_id = any (%(ids)s) and coalesce(d.ended_at, 'infinity') = 'infinity' and d.lease_until is not null
