-- Appends entries to a log. KEYS: number of the newest entry, log (sorted set by number).
-- ARGV: entries kept, entries.
local time = redis.call('TIME')
if redis.call('EXISTS', KEYS[1]) == 0 then
  -- Numbers go on from the clock, so that a server that lost its memory never gives a number twice.
  redis.call('SET', KEYS[1], time[1] .. string.format('%06d', tonumber(time[2])))
end
for i = 2, #ARGV do
  local version = redis.call('INCR', KEYS[1])
  local name = string.format('%.0f', version)
  redis.call('ZADD', KEYS[2], name, name .. ':' .. ARGV[i])
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[1]) - 1)
return 1
