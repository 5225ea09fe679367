-- Which requests the given keys (tenant and key, two arrays of one length) belong to.
select k.tenant, k.key, k.fingerprint, k.job_ids
from unnest(%(tenants)s::text[], %(keys)s::text[]) as asked (tenant, key)
join muster.idempotency_keys k on k.tenant = asked.tenant and k.key = asked.key
