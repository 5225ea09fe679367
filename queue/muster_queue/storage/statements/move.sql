-- Moves jobs to another phase, or changes what stands in them, each only where its conditions hold.
-- changes: array of objects; what is null in one stays, or is no condition. With `attempt` the change is fenced: it
-- holds only while this attempt is the job's present one and open, held by `holder`, with its lease over if `is_expiry`.
-- Writes the event, the audit and the outbox in the same transaction, closes the attempt, and books what it has used.
-- Planned while the tables are empty and kept: an equality written as an array of one can only be looked up by key, and
-- a condition that a partial index has too is written as coalesce, so that no index is read whole.
with incoming as materialized (
    select * from json_to_recordset(%(changes)s::json) as (
        id uuid, version integer, attempt integer, holder text, is_expiry boolean, sources muster.job_phase[],
        target muster.job_phase, shelf smallint, reason text, message text, retries integer, priority smallint,
        wake_seconds double precision, object_uid text, failure text, exit_code integer, result json,
        is_end boolean, is_gone boolean, is_mirror boolean
    )
),
moved as (
    update muster.jobs j set
        previous_phase = j.phase,
        phase = coalesce(i.target, j.phase),
        shelf = coalesce(i.shelf, j.shelf),
        version = j.version + 1,
        reason = coalesce(i.reason, j.reason),
        message = coalesce(i.message, j.message),
        retries = coalesce(i.retries, j.retries),
        priority = coalesce(i.priority, j.priority),
        object_uid = coalesce(i.object_uid, j.object_uid),
        updated_at = now(),
        queued_at = case when i.target = 'Queued' then now() else j.queued_at end,
        finished_at = case when i.is_end then now() when i.target is null then j.finished_at end,
        wake_at = case
            when i.target is null and i.wake_seconds is null then case when i.is_gone then null else j.wake_at end
            -- What has no AIJob that would keep the time is looked at once more when it is to be forgotten.
            when i.is_end and j.object_uid is null
                then now() + interval '1 second' * (j.spec ->> 'ttlSecondsAfterFinished')::double precision
            else now() + i.wake_seconds * interval '1 second' end,
        gone_at = case when i.is_gone then now() else j.gone_at end,
        -- What its AIJob has to hear of: not what was heard from it.
        wishes = case when i.is_gone then 0 when i.is_mirror or j.object_uid is null then j.wishes else j.wishes
            | case when i.priority is not null and i.priority <> j.priority then 1 else 0 end
            | case when i.target is not null then 2 else 0 end
            | case when i.target = 'Queued' and j.phase in ('Failed', 'DeadLetter') then 4 else 0 end
            end
    from incoming i left join muster.dispatches d on d.job_id = any (array[i.id]) and d.attempt = i.attempt
    where j.id = any (array[i.id]) and j.phase = any (i.sources) and coalesce(j.gone_at, 'infinity') = 'infinity'
        and (i.version is null or j.version = i.version)
        and (i.attempt is null or (
            j.attempt = i.attempt and j.phase in ('Scheduled', 'Running')
            and d.job_id is not null and coalesce(d.ended_at, 'infinity') = 'infinity'
            and (i.holder is null or d.holder = i.holder)
            and (i.is_expiry is not true or d.lease_until < now())
        ))
    returning j.id, j.namespace, j.queue, j.version, j.previous_phase, j.phase, j.attempt, j.reason, j.message,
        i.failure, i.exit_code, i.result, i.message as last_words
),
closed as (
    update muster.dispatches d set
        ended_at = now(), outcome = m.phase, failure = m.failure, exit_code = m.exit_code, message = m.last_words,
        result = m.result
    from moved m
    where d.job_id = any (array[m.id]) and d.attempt = m.attempt
        and coalesce(d.ended_at, 'infinity') = 'infinity'
        and m.phase not in ('Scheduled', 'Running')
    returning d.job_id, d.attempt, d.namespace, d.queue, d.gpus, d.started_at
),
used as (
    insert into muster.usage (job_id, attempt, namespace, queue, gpus, started_at, ended_at)
    select c.job_id, c.attempt, c.namespace, c.queue, c.gpus, c.started_at, now() from closed c where c.gpus > 0
    on conflict do nothing
),
told as (
    insert into muster.outbox (job_ids)
    select array_agg(m.id) from moved m where m.phase = 'Queued' or m.previous_phase = 'Queued' having count(*) > 0
    returning id
),
noted as (
    insert into muster.events (job_id, version, namespace, source, target, reason, message, attempt, actor)
    select m.id, m.version, m.namespace, m.previous_phase, m.phase, m.reason, m.message, m.attempt, %(actor)s
    from moved m
),
audited as (
    insert into muster.audit (actor, action, namespace, job_ids, source, target, details)
    select %(actor)s, %(action)s, m.namespace, array_agg(m.id), m.previous_phase, m.phase, %(details)s::json
    from moved m group by m.namespace, m.previous_phase, m.phase
)
select
    m.id, m.previous_phase, m.phase, m.version, m.attempt, (select id from told),
    -- The claim was committed after this statement began, which so cannot see the attempt to close: undone, repeated.
    case when m.previous_phase in ('Scheduled', 'Running') and m.phase not in ('Scheduled', 'Running')
        and (m.id in (select c.job_id from closed c)) is not true
    then muster.refuse_race() end
from moved m
