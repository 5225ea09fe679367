-- Jobs that somebody must look at now: their back-off is over, or they have waited or run too long.
select j.* from muster.jobs j where j.wake_at is not null and j.wake_at <= now() order by j.wake_at limit %(most)s
