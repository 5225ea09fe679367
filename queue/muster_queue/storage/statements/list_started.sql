-- The newest jobs that run or are about to, found by their open attempts: they may be few among a million queued.
select j.* from muster.dispatches d join muster.jobs j on j.id = d.job_id
where d.ended_at is null and d.job_id < %(before)s and d.job_id >= %(since)s
    and (%(namespaces)s::text[] is null or d.namespace = any (%(namespaces)s::text[]))
    and (%(queue)s::text is null or d.queue = %(queue)s)
    and j.phase = any (%(phases)s::muster.job_phase[])
    and (%(job_type)s::text is null or j.job_type = %(job_type)s)
    and (%(with_gone)s or j.gone_at is null)
order by d.job_id desc limit %(most)s
