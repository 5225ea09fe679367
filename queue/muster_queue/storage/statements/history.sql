-- The events of a job after a version; the time bounds leave out the partitions before its submission.
select e.* from muster.events e
where e.job_id = %(id)s and e.version > %(after)s and e.time >= %(since)s
order by e.version limit %(most)s
