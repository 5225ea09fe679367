select
    s.number, s.first_txid::text, s.first_id, s.last_txid::text, s.last_id, s.rows, s.row_digests, s.previous_digest,
    s.digest
from muster.audit_seals s where s.number > %(after)s order by s.number limit %(most)s
