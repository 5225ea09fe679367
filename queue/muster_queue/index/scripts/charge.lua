-- Charges a tenant's token bucket (the generic cell rate algorithm: one time instead of a count that is refilled).
--
-- KEYS[1]  bucket: string, the time in microseconds at which the bucket is full again
-- ARGV[1]  microseconds that one token takes to come back
-- ARGV[2]  how many tokens a full bucket holds
-- ARGV[3]  how many tokens this call costs
--
-- A call dearer than a full bucket passes when it is full, and its debt is worked off.
-- Returns 1 allowed or 0 refused, whole tokens left, microseconds after which the same call would pass.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local after = full + math.ceil(cost * interval)
local span = math.floor(capacity * interval)
local wait = math.min(after - now - span, full - now)
if wait > 0 then
  return {0, math.max(0, math.floor((now + span - full) / interval)), wait}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1)
return {1, math.max(0, math.floor((now + span - after) / interval)), 0}
