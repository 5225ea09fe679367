-- The open attempts of one holder: what it has to go on with after a restart, or after a claim of unknown outcome.
select d.* from muster.dispatches d
where d.ended_at is null and d.holder = %(holder)s and (d.job_id, d.attempt) > (%(id)s::uuid, %(attempt)s::integer)
order by d.job_id, d.attempt limit %(most)s
