-- Takes queued jobs for one holder: the job's row and the primary key of dispatches both pick one winner.
-- candidates: array of {id, attempt (the next one as the caller knows it, or null), wake_seconds, gpus, holder (or null:
-- the one of all)}. With `namespace` only jobs of this pool are taken, whatever the index has said of them, and their
-- own time to run out begins.
-- Queued to Running or Scheduled changes no indexed column, so the update stays on its page.
-- Planned while the tables are empty and kept: an equality written as an array of one can only be looked up by key.
with incoming as materialized (
    select * from json_to_recordset(%(candidates)s::json) as (
        id uuid, attempt integer, wake_seconds double precision, gpus integer, holder text
    )
),
moved as (
    update muster.jobs j set
        previous_phase = j.phase, phase = %(target)s::muster.job_phase, version = j.version + 1,
        attempt = j.attempt + 1, reason = '', message = '', started_at = now(), updated_at = now(),
        wake_at = now() + interval '1 second' * case when %(namespace)s::text is null then i.wake_seconds
            else (j.spec ->> 'timeoutSeconds')::double precision end
    from incoming i
    where j.id = any (array[i.id]) and j.phase = 'Queued' and (i.attempt is null or j.attempt = i.attempt - 1)
        and (%(namespace)s::text is null or (
            j.namespace = %(namespace)s and j.queue = %(queue)s and j.execution = 'pool'
            and (%(job_types)s::text[] is null or j.job_type = any (%(job_types)s))
        ))
    returning j.id, j.namespace, j.name, j.queue, j.job_type, j.execution, j.priority, j.version, j.attempt, j.retries,
        j.spec, j.trace, j.created_at, j.queued_at, i.gpus, coalesce(i.holder, %(holder)s::text) as holder
),
won as (
    insert into muster.dispatches (job_id, attempt, namespace, queue, holder, gpus, lease_until)
    select m.id, m.attempt, m.namespace, m.queue, m.holder, coalesce(m.gpus, 0),
        now() + %(lease_seconds)s::double precision * interval '1 second'
    from moved m
    on conflict do nothing
    returning job_id
),
noted as (
    insert into muster.events (job_id, version, namespace, source, target, attempt, actor)
    select m.id, m.version, m.namespace, 'Queued', %(target)s::muster.job_phase, m.attempt, %(actor)s from moved m
),
audited as (
    insert into muster.audit (actor, action, namespace, job_ids, source, target, details)
    select %(actor)s, 'claim', m.namespace, array_agg(m.id), 'Queued', %(target)s::muster.job_phase,
        json_build_object('holder', m.holder)
    from moved m group by m.namespace, m.holder
)
select
    m.id, m.namespace, m.name, m.queue, m.job_type, m.execution, m.priority, m.version, m.attempt, m.retries, m.spec,
    m.trace, m.created_at, m.queued_at, now(), m.holder,
    -- Cannot be unless somebody wrote an attempt by hand: then nobody takes the job.
    case when (select count(*) from won) <> (select count(*) from moved) then muster.refuse_race() end
from moved m
