-- Takes jobs out whatever they do, since they were cancelled or held.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV     job; and so on, up to 500 jobs
--
-- Returns for each job 0 not known, 1 it waited, 2 it was leased: its holder learns it at the next heartbeat.
local answers = {}
for _, job in ipairs(ARGV) do
  local waited = redis.call('ZREM', KEYS[1], job)
  local leased = redis.call('ZREM', KEYS[2], job)
  redis.call('HDEL', KEYS[3], job)
  answers[#answers + 1] = leased == 1 and 2 or waited
end
return answers
