-- Gives waiting jobs another score; a job that does not wait is left alone.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- ARGV     job, score; and so on, up to 500 jobs
--
-- Returns for each job 1 if it waits, else 0.
local found = {}
for position = 1, #ARGV, 2 do
  local job, score = ARGV[position], ARGV[position + 1]
  local waits = redis.call('ZSCORE', KEYS[1], job)
  if waits then
    redis.call('ZADD', KEYS[1], 'XX', score, job)
  end
  found[#found + 1] = waits and 1 or 0
end
return found
