select u.attempt, u.gpus, u.started_at, u.ended_at, u.gpu_seconds from muster.usage u
where u.job_id = %(id)s order by u.attempt
