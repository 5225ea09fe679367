-- GPU seconds by queue between two moments, of attempts that have ended.
select u.namespace, u.queue, count(*), sum(u.gpu_seconds) from muster.usage u
where u.ended_at >= %(since)s and u.ended_at < %(until)s and u.namespace = any (%(namespaces)s)
group by u.namespace, u.queue order by u.namespace, u.queue
