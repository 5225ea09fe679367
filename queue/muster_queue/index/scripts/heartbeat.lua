-- Extends leases, counted from now on this server's clock.
--
-- KEYS[1]  leases: sorted set, job -> end of its lease in ms
-- KEYS[2]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV[1]  length of the leases in ms
-- ARGV     job, attempt; and so on, up to 500 jobs
--
-- Returns for each job 1 extended, 0 no such lease, -1 leased for another attempt.
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local answers = {}
for position = 2, #ARGV, 2 do
  local job, attempt = ARGV[position], tonumber(ARGV[position + 1])
  local answer = 0
  if redis.call('ZSCORE', KEYS[1], job) then
    local held = tonumber(redis.call('HGET', KEYS[2], job) or 1)
    answer = held == attempt and 1 or -1
  end
  if answer == 1 then
    redis.call('ZADD', KEYS[1], 'XX', 'GT', ends, job)
  end
  answers[#answers + 1] = answer
end
return answers
