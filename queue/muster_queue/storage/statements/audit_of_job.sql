-- Audit rows about a job: they carry the time of the transaction that wrote its events, or the job itself.
with moments as (
    select j.created_at as time from muster.jobs j where j.id = %(id)s
    union
    select e.time from muster.events e where e.job_id = %(id)s and e.time >= %(since)s
)
select a.* from moments m join muster.audit a on a.time = m.time
where %(id)s = any (a.job_ids)
order by a.txid, a.id limit %(most)s
