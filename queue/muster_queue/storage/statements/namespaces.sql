-- The namespaces that have labelled jobs, each found by one step over the index.
with recursive found (namespace) as (
    select (select l.namespace from muster.job_labels l order by l.namespace limit 1)
    union all
    select (select l.namespace from muster.job_labels l where l.namespace > f.namespace order by l.namespace limit 1)
    from found f where f.namespace is not null
)
select namespace from found where namespace is not null
