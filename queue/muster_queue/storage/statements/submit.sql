-- Stores requests with their jobs, keys, labels, audit and outbox, in one statement and so in one transaction.
-- jobs: array of objects, one for each job; keys: array of objects, one for each request that has an idempotency key.
-- careful: also look generated names up before; set when a name was lost to another transaction.
-- Answers with one row: the commit's time, its outbox row, the jobs not stored, those of them whose name is taken.
with incoming as materialized (
    select * from json_to_recordset(%(jobs)s::json) as (
        id uuid, namespace text, name text, is_named boolean, tenant text, key text, job_type text, queue text,
        cluster text, execution text, priority smallint, phase muster.job_phase, shelf smallint, labels json, spec json,
        submitter text, trace text, wake_seconds double precision, object_uid text
    )
),
keys as materialized (
    select * from json_to_recordset(%(keys)s::json) as (tenant text, key text, fingerprint text, job_ids uuid[])
),
taken as materialized (
    select i.id, i.tenant, i.key from incoming i
    where (i.is_named or %(careful)s) and (
        select true from muster.jobs j
        where j.namespace = i.namespace and j.name = i.name and j.gone_at is null and j.id <> i.id limit 1
    )
),
won as (
    insert into muster.idempotency_keys (tenant, key, fingerprint, job_ids)
    select k.tenant, k.key, decode(k.fingerprint, 'hex'), k.job_ids from keys k
    where ((k.tenant, k.key) in (select t.tenant, t.key from taken t)) is not true
    on conflict do nothing
    returning tenant, key
),
stored as (
    insert into muster.jobs (
        id, namespace, name, job_type, queue, cluster, execution, priority, phase, shelf, labels, spec, submitter, trace,
        object_uid, queued_at, wake_at
    )
    select
        i.id, i.namespace, i.name, i.job_type, i.queue, i.cluster, i.execution, i.priority, i.phase, i.shelf, i.labels,
        i.spec, i.submitter, i.trace, i.object_uid, case when i.phase = 'Queued' then now() end,
        now() + i.wake_seconds * interval '1 second'
    from incoming i
    where (i.id in (select t.id from taken t)) is not true
        and (i.key is null or ((i.tenant, i.key) in (select w.tenant, w.key from won w)) is true)
    on conflict do nothing
    returning id, namespace, phase, submitter
),
labelled as (
    insert into muster.job_labels (namespace, label, job_id)
    select i.namespace, l.key || '=' || l.value, i.id
    from incoming i, json_each_text(i.labels) l
    where i.labels is not null and (i.id in (select s.id from stored s)) is true
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
select
    now(),
    (select id from told),
    array(select i.id from incoming i where (i.id in (select s.id from stored s)) is not true),
    array(select t.id from taken t),
    -- A key without all of its jobs must not stay: the whole statement is undone and repeated with care.
    case when exists (
        select from incoming i
        where i.key is not null and ((i.tenant, i.key) in (select w.tenant, w.key from won w)) is true
            and (i.id in (select s.id from stored s)) is not true
    ) then muster.refuse_race() end
