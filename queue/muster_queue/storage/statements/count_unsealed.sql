-- How many rows no seal knows yet, up to a number.
select count(*) from (
    select from muster.audit a where (a.txid, a.id) > (%(txid)s::xid8, %(id)s) limit %(most)s
) unsealed
