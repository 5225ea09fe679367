-- Forgets jobs of which an attempt was the last: done, failed for good, or not to be handed out at all.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV     job, attempt; and so on, up to 500 jobs
--
-- Returns for each job 1 forgotten, 0 not known, -1 kept because a later attempt is known.
local answers = {}
for position = 1, #ARGV, 2 do
  local job, attempt = ARGV[position], tonumber(ARGV[position + 1])
  local held = tonumber(redis.call('HGET', KEYS[3], job) or 1)
  local answer = -1
  if held <= attempt then
    answer = math.min(1, redis.call('ZREM', KEYS[1], job) + redis.call('ZREM', KEYS[2], job))
    redis.call('HDEL', KEYS[3], job)
  end
  answers[#answers + 1] = answer
end
return answers
