-- Audit rows that fit, the oldest first, after a place. At most `scan` rows are looked at, so that what is rare costs no
-- more than what is not; the last of them comes along even where it does not fit, to tell where to go on.
with scanned as materialized (
    select a.txid, a.id, (
        (%(namespaces)s::text[] is null or a.namespace = any (%(namespaces)s::text[]))
        and (%(actor)s::text is null or a.actor = %(actor)s)
        and (%(since)s::timestamptz is null or a.time > %(since)s)
        and (%(until)s::timestamptz is null or a.time < %(until)s)
    ) as fits
    from muster.audit a
    where (a.txid, a.id) > (%(txid)s::xid8, %(id)s)
    order by a.txid, a.id limit %(scan)s
),
last as (
    select s.txid, s.id, (select count(*) from scanned) as looked_at
    from scanned s order by s.txid desc, s.id desc limit 1
),
chosen as (
    (select s.txid, s.id, true as fits from scanned s where s.fits order by s.txid, s.id limit %(most)s)
    union
    (select l.txid, l.id, s.fits from last l join scanned s on s.txid = l.txid and s.id = l.id)
)
select a.*, c.fits, (select looked_at from last) as looked_at
from chosen c join muster.audit a on a.txid = c.txid and a.id = c.id
order by a.txid, a.id
