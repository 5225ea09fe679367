-- Gives waiting jobs the score that Postgres has for them, unless somebody changed it since it was looked at.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- ARGV     job, score that was seen, right score; and so on, up to 500 jobs
--
-- Returns how many were corrected.
local corrected = 0
for position = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[position])
  if score and tonumber(score) == tonumber(ARGV[position + 1]) then
    redis.call('ZADD', KEYS[1], 'XX', ARGV[position + 2], ARGV[position])
    corrected = corrected + 1
  end
end
return corrected
