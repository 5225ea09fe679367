select d.* from muster.dispatches d where d.job_id = %(id)s order by d.attempt desc limit %(most)s
