-- Hands out the best waiting jobs, each under a lease.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV[1]  how many at most, up to 500
-- ARGV[2]  length of the leases in ms
--
-- Returns end of the leases in ms, then job, score, attempt; and so on, the best first.
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
if #popped == 0 then
  return {0}
end
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
local jobs, leases = {}, {}
for position = 1, #popped, 2 do
  jobs[#jobs + 1] = popped[position]
  leases[#leases + 1], leases[#leases + 2] = ends, popped[position]
end
redis.call('ZADD', KEYS[2], unpack(leases))
local known = redis.call('EXISTS', KEYS[3]) == 1 and redis.call('HMGET', KEYS[3], unpack(jobs)) or {}
local taken = {ends}
for position, job in ipairs(jobs) do
  taken[#taken + 1] = job
  taken[#taken + 1] = popped[position * 2]
  taken[#taken + 1] = tonumber(known[position] or 1)
end
return taken
