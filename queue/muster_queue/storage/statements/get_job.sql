select j.* from muster.jobs j where j.id = %(id)s
