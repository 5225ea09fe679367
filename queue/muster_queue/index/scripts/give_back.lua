-- Puts leased jobs back among the waiting, for the same attempt or a later one.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV     job, score, attempt; and so on, up to 500 jobs
--
-- Returns for each job 1 waits again, 0 is not leased, -1 leased for a later attempt.
local answers = {}
for position = 1, #ARGV, 3 do
  local job, score, attempt = ARGV[position], ARGV[position + 1], tonumber(ARGV[position + 2])
  local answer = 0
  if redis.call('ZSCORE', KEYS[2], job) then
    local held = tonumber(redis.call('HGET', KEYS[3], job) or 1)
    answer = held <= attempt and 1 or -1
    if held < attempt then
      redis.call('HSET', KEYS[3], job, attempt)
    end
  end
  if answer == 1 then
    redis.call('ZREM', KEYS[2], job)
    redis.call('ZADD', KEYS[1], score, job)
  end
  answers[#answers + 1] = answer
end
return answers
