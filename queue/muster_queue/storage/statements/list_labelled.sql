-- The newest jobs of some namespaces with a label.
select page.* from unnest(%(namespaces)s::text[]) as n (namespace) cross join lateral (
    select j.* from muster.job_labels l join muster.jobs j on j.id = l.job_id
    where l.namespace = n.namespace and l.label = %(label)s and l.job_id < %(before)s and l.job_id >= %(since)s
        and j.phase = any (%(phases)s::muster.job_phase[])
        and (%(queue)s::text is null or j.queue = %(queue)s)
        and (%(job_type)s::text is null or j.job_type = %(job_type)s)
        and (%(with_gone)s or j.gone_at is null)
        and not exists (
            select from unnest(%(labels)s::text[]) as other (label)
            where not exists (
                select from muster.job_labels m
                where m.namespace = l.namespace and m.label = other.label and m.job_id = l.job_id
            )
        )
    order by l.job_id desc limit %(most)s
) page
order by page.id desc limit %(most)s
