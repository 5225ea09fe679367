-- The digests of audit rows in order, after a place and up to another, of finished transactions only: every row with a
-- smaller transaction id than the oldest one still running is there for good, or never will be.
-- A row's text writes its time in microseconds, so that no setting of the session changes it.
select
    a.txid::text, a.id, sha256(convert_to(row(
        a.id, a.txid, (extract(epoch from a.time) * 1000000)::bigint, a.actor, a.action, a.namespace, a.job_ids,
        a.source, a.target, a.details::text
    )::text, 'UTF8'))
from muster.audit a
where (a.txid, a.id) > (%(after_txid)s::xid8, %(after_id)s)
    and (a.txid, a.id) <= (%(to_txid)s::xid8, %(to_id)s)
    and a.txid < pg_snapshot_xmin(pg_current_snapshot())
order by a.txid, a.id limit %(most)s
