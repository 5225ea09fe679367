-- A page of the jobs of pools of one queue, in the order of their index: the rest of a priority, then the lower ones.
select j.id, j.namespace, j.queue, j.execution, j.priority, j.attempt, j.queued_at, j.created_at, j.phase
from (
    (
        select r.* from muster.jobs r
        where r.shelf = 0 and r.execution = 'pool' and r.namespace = %(namespace)s::text and r.queue = %(queue)s::text
            and r.priority = %(priority)s::smallint and r.id > %(id)s::uuid
        order by r.id limit %(most)s
    )
    union all
    (
        select l.* from muster.jobs l
        where l.shelf = 0 and l.execution = 'pool' and l.namespace = %(namespace)s::text and l.queue = %(queue)s::text
            and l.priority < %(priority)s::smallint
        order by l.priority desc, l.id limit %(most)s
    )
) j
order by j.priority desc, j.id limit %(most)s
