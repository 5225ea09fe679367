-- Begins a rebuild unless one is under way.
--
-- KEYS[1]  rebuild: string, the token of a rebuild
-- ARGV[1]  token
-- ARGV[2]  ms after which a rebuild that shows no sign of life is over
--
-- Returns 1 begun or gone on with, 0 somebody else rebuilds.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
