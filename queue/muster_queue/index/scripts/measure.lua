-- Counts a queue and looks at its head and at its longest waiting job.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- ARGV[1]  width of the band of scores that one priority has
--
-- Returns now in ms, waiting, leased, overdue, then head's job and score, then the least offset inside its band of any
-- waiting job (the longest waiting one); the last three are missing when nothing waits.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local measured = {now, redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('ZCOUNT', KEYS[2], '-inf', now)}
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #head == 0 then
  return measured
end
local width = tonumber(ARGV[1])
local first, least = head, width
while #first > 0 do
  local score = tonumber(first[2])
  local band = math.floor(score / width)
  least = math.min(least, score - band * width)
  -- From band to band, of which there are 101: the first job of each is the longest waiting one of its priority.
  local following = string.format('%.0f', (band + 1) * width)
  first = redis.call('ZRANGEBYSCORE', KEYS[1], following, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
end
measured[5], measured[6], measured[7] = head[1], head[2], string.format('%.0f', least)
return measured
