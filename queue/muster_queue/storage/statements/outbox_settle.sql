delete from muster.outbox where id = any (%(ids)s) returning id
