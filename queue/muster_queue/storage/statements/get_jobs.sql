select j.* from muster.jobs j where j.id = any (%(ids)s)
