-- Rows of the outbox that their writer has not settled within so many seconds; other relays skip them meanwhile.
select o.id, o.job_ids from muster.outbox o
where o.created_at < now() - %(seconds)s::double precision * interval '1 second'
order by o.id limit %(most)s
