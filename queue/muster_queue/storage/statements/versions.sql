-- How far some jobs have come.
select j.id, j.version, j.phase from muster.jobs j where j.id = any (%(ids)s)
