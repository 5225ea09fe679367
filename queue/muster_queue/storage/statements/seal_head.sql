select s.number, s.last_txid, s.last_id, s.digest from muster.audit_seals s order by s.number desc limit 1
