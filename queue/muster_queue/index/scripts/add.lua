-- Puts jobs among the waiting. Sending one again changes nothing, so that every sender may send twice.
--
-- KEYS[1]  waiting: sorted set, job -> score
-- KEYS[2]  leases: sorted set, job -> end of its lease in ms
-- KEYS[3]  attempts: hash, job -> attempt, for attempts after the first
-- ARGV[1]  job, score, attempt; and so on, up to 500 jobs: one list in MessagePack, since packing that many arguments
--          costs the sender more than all the rest of the call
--
-- A job that is leased for the same attempt stays leased; a later attempt ends the lease; an earlier one is ignored.
-- Returns how many jobs are among the waiting that were not before.
local jobs, given = {}, cmsgpack.unpack(ARGV[1])
for position = 1, #given, 3 do
  jobs[#jobs + 1] = given[position]
end
if #jobs == 0 then
  return 0
end
local leased = redis.call('EXISTS', KEYS[2]) == 1 and redis.call('ZMSCORE', KEYS[2], unpack(jobs)) or {}
local known = redis.call('EXISTS', KEYS[3]) == 1 and redis.call('HMGET', KEYS[3], unpack(jobs)) or {}
local fresh, renewed, numbers, ended = {}, {}, {}, {}
local latest = {} -- a batch may name a job twice
for position, job in ipairs(jobs) do
  local score, attempt = given[position * 3 - 1], given[position * 3]
  local held = latest[job] or tonumber(known[position] or 1)
  if attempt > held then
    latest[job] = attempt
    renewed[#renewed + 1], renewed[#renewed + 2] = score, job
    numbers[#numbers + 1], numbers[#numbers + 2] = job, attempt
    if leased[position] then
      ended[#ended + 1] = job
    end
  elseif attempt == held and not leased[position] then
    fresh[#fresh + 1], fresh[#fresh + 2] = score, job
  end
end
local added = 0
if #fresh > 0 then
  added = redis.call('ZADD', KEYS[1], 'NX', unpack(fresh))
end
if #renewed > 0 then
  added = added + redis.call('ZADD', KEYS[1], unpack(renewed))
  redis.call('HSET', KEYS[3], unpack(numbers))
end
if #ended > 0 then
  redis.call('ZREM', KEYS[2], unpack(ended))
end
return added
