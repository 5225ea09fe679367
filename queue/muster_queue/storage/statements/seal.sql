insert into muster.audit_seals (
    number, first_txid, first_id, last_txid, last_id, rows, row_digests, previous_digest, digest
) values (
    %(number)s, %(first_txid)s::xid8, %(first_id)s, %(last_txid)s::xid8, %(last_id)s, %(rows)s, %(row_digests)s,
    %(previous_digest)s, %(digest)s
)
on conflict do nothing returning number
