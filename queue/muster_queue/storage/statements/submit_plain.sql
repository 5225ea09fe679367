-- Stores jobs that bring neither a key nor labels nor names of their own, with audit and outbox: most jobs, at less than
-- two thirds of the cost of submit.sql. Nothing that such a job has can be another's, so that a conflict is an error
-- here; whoever meets it asks submit.sql, which answers it.
-- jobs: array of objects, one for each job. Answers with one row: the commit's time, its outbox row.
with stored as (
    insert into muster.jobs (
        id, namespace, name, job_type, queue, cluster, execution, priority, phase, shelf, spec, submitter, trace,
        object_uid, queued_at, wake_at
    )
    select
        i.id, i.namespace, i.name, i.job_type, i.queue, i.cluster, i.execution, i.priority, i.phase, i.shelf, i.spec,
        i.submitter, i.trace, i.object_uid, case when i.phase = 'Queued' then now() end,
        now() + i.wake_seconds * interval '1 second'
    from json_to_recordset(%(jobs)s::json) as i (
        id uuid, namespace text, name text, job_type text, queue text, cluster text, execution text, priority smallint,
        phase muster.job_phase, shelf smallint, spec json, submitter text, trace text, wake_seconds double precision,
        object_uid text
    )
    returning id, namespace, phase, submitter
),
told as (
    insert into muster.outbox (job_ids)
    select array_agg(s.id) from stored s where s.phase = 'Queued' having count(*) > 0
    returning id
),
audited as (
    insert into muster.audit (actor, action, namespace, job_ids, target)
    select s.submitter, 'submit', s.namespace, array_agg(s.id), s.phase from stored s
    group by s.submitter, s.namespace, s.phase
)
select now(), (select id from told)
