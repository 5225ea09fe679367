-- Tells which leases have ended. They are told again after a while, until somebody has dealt with them: were they
-- removed here, a caller that dies before it has told Postgres would lose them.
--
-- KEYS[1]  leases: sorted set, job -> end of its lease in ms
-- KEYS[2]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV[1]  how many at most, up to 500
-- ARGV[2]  ms after which they are told again
--
-- Returns job, attempt; and so on, the longest overdue first.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local jobs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #jobs == 0 then
  return {}
end
local known = redis.call('EXISTS', KEYS[2]) == 1 and redis.call('HMGET', KEYS[2], unpack(jobs)) or {}
local again, told = {}, {}
for position, job in ipairs(jobs) do
  again[#again + 1], again[#again + 2] = now + tonumber(ARGV[2]), job
  told[#told + 1], told[#told + 2] = job, tonumber(known[position] or 1)
end
redis.call('ZADD', KEYS[1], unpack(again))
return told
