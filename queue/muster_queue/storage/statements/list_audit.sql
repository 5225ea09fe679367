-- Audit rows, the newest first, before a place; of some namespaces, or of all.
select a.* from muster.audit a
where (a.txid, a.id) < (%(txid)s::xid8, %(id)s)
    and (%(namespaces)s::text[] is null or a.namespace = any (%(namespaces)s::text[]))
order by a.txid desc, a.id desc limit %(most)s
