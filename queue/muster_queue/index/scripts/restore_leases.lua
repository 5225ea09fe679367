-- Brings leases back that were lost with the store; Postgres says that somebody works on these jobs.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV     job, attempt, ms until the lease ends; and so on, up to 500 jobs
--
-- A lease that is there is left alone; a job that waits for that attempt waits no longer; a later attempt wins.
-- Returns how many leases were restored.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local restored = 0
for position = 1, #ARGV, 3 do
  local job, attempt = ARGV[position], tonumber(ARGV[position + 1])
  local held = tonumber(redis.call('HGET', KEYS[3], job) or 1)
  if held < attempt then
    redis.call('HSET', KEYS[3], job, attempt)
  end
  if held <= attempt then
    redis.call('ZREM', KEYS[1], job)
    restored = restored + redis.call('ZADD', KEYS[2], 'NX', now + tonumber(ARGV[position + 2]), job)
  end
end
return restored
