-- Where jobs stand whose change did not go through.
select j.id, j.phase, j.version, j.attempt, j.gone_at is not null from muster.jobs j where j.id = any (%(ids)s)
