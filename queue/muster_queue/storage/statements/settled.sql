-- Attempts that have ended, with who had them: whether an acknowledgement that is refused now was taken before.
select d.job_id, d.attempt, d.holder, d.outcome, d.failure
from muster.dispatches d
where d.job_id = any (%(ids)s::uuid[]) and coalesce(d.ended_at, 'infinity') <> 'infinity'
