-- Reads a part of the waiting or of the leases, for comparing it with Postgres.
--
-- KEYS[1]  waiting or leases: sorted set, job -> score or end of its lease
-- KEYS[2]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV[1]  cursor, 0 to begin with
-- ARGV[2]  about how many
--
-- Returns the next cursor (0: this was the last), then job, score, attempt; and so on. A job may come twice.
local scanned = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local page, attempts = {scanned[1]}, redis.call('EXISTS', KEYS[2]) == 1
for position = 1, #scanned[2], 2 do
  local job = scanned[2][position]
  page[#page + 1] = job
  page[#page + 1] = scanned[2][position + 1]
  page[#page + 1] = attempts and tonumber(redis.call('HGET', KEYS[2], job) or 1) or 1
end
return page
