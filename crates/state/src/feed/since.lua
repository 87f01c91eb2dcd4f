-- Entries after a number. KEYS as in append.lua. ARGV: number.
-- Returns the newest number, and the entries as "number:entry".
local version = redis.call('GET', KEYS[1]) or '0'
return { version, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf') }
