-- Forgets idempotency keys older than so many seconds, some at a time.
delete from muster.idempotency_keys where (tenant, key) in (
    select k.tenant, k.key from muster.idempotency_keys k
    where k.created_at < now() - %(seconds)s * interval '1 second'
    order by k.created_at limit %(most)s
)
returning 1
