-- Shows a sign of life of a rebuild, and notices a store that was emptied meanwhile: its token went with all the rest.
--
-- KEYS[1]  rebuild: string, the token of a rebuild
-- ARGV[1]  token
-- ARGV[2]  ms after which a rebuild that shows no sign of life is over
--
-- Returns 1 go on, 0 begin anew.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
