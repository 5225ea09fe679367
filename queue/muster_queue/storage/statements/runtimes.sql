select r.namespace, r.queue, r.job_type, r.samples, r.median_seconds, r.p90_seconds, r.updated_at
from muster.runtimes r where r.namespace = any (%(namespaces)s) order by r.namespace, r.queue, r.job_type
