-- About how many commits the index has not been told of, and since when: two looks at the key.
select
    coalesce((select o.id from muster.outbox o order by o.id desc limit 1)
        - (select o.id from muster.outbox o order by o.id limit 1) + 1, 0),
    coalesce((select extract(epoch from now() - o.created_at) from muster.outbox o order by o.id limit 1), 0)
        ::double precision
