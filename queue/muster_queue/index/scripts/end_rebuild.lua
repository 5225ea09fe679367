-- Writes the marker, but only if nothing was lost since the rebuild began.
--
-- KEYS[1]  rebuild: string, the token of a rebuild
-- KEYS[2]  marker: hash with epoch, run, evicted
-- ARGV[1]  token
-- ARGV[2]  epoch to write
-- ARGV[3]  run of the server when the rebuild began
-- ARGV[4]  keys that it had evicted by then
--
-- Returns 1 complete, 0 begin anew.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
if run ~= ARGV[3] or evicted ~= ARGV[4] then
  return 0
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[2], 'run', run, 'evicted', evicted)
return 1
