select j.* from muster.jobs j where j.namespace = %(namespace)s and j.name = %(name)s and j.gone_at is null
