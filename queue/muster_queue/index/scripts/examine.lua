-- Reads a marker, and who this server is: after a restart or a failover it is another one.
--
-- KEYS[1]  marker: hash with epoch, run, evicted
--
-- Returns run and evicted keys of this server, then epoch, run and evicted keys of the marker (empty without marker).
local server, stats = redis.call('INFO', 'server'), redis.call('INFO', 'stats')
local marker = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'evicted')
return {
  string.match(server, 'run_id:(%w+)'),
  string.match(stats, 'evicted_keys:(%d+)'),
  marker[1] or '',
  marker[2] or '',
  marker[3] or '',
}
