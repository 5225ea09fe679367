-- Where the audit begins that is not older than this.
select a.txid::text from muster.audit a where a.time >= %(since)s order by a.time limit 1
