-- Decides a batch of statements of one replica: the twin of `decide` in lease.rs, which explains the rules.
--
-- KEYS: replicas (sorted set: id by last seen), wants (sorted set: counter by time), the time of the first exchange,
-- then one hash per statement.
-- ARGV: replica, then 16 values per statement in the order of `local s` below.
-- An amount is "dollars:pico", because a Lua number is exact only below 2^53.

local PARALLEL_TTL, LEASE_TTL, HOLD_TTL, WANT_TTL, YOUNG = 15000, 120000, 600000, 2000, 2000
local DAY = 86400000
local UNIT = 1000000000000

local function amount(text)
  local hi, lo = string.match(text or '0:0', '^(-?%d+):(%d+)$')
  return { tonumber(hi), tonumber(lo) }
end
local function text(a) return string.format('%.0f:%.0f', a[1], a[2]) end
local function add(a, b)
  local hi, lo = a[1] + b[1], a[2] + b[2]
  if lo >= UNIT then return { hi + 1, lo - UNIT } end
  return { hi, lo }
end
local function sub(a, b)
  local hi, lo = a[1] - b[1], a[2] - b[2]
  if lo < 0 then return { hi - 1, lo + UNIT } end
  return { hi, lo }
end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function max(a, b) if less(a, b) then return b end return a end
local function min(a, b) if less(b, a) then return b end return a end
-- Whole division of an amount that is not negative; exact for divisors below 4000.
local function share(a, by)
  local hi = math.floor(a[1] / by)
  return { hi, math.floor(((a[1] - hi * by) * UNIT + a[2]) / by) }
end
local ZERO = { 0, 0 }

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local replica = ARGV[1]

redis.call('SET', KEYS[3], string.format('%.0f', now), 'NX')
local young = now - tonumber(redis.call('GET', KEYS[3])) < YOUNG
local known = redis.call('ZSCORE', KEYS[1], replica) and 1 or 0
redis.call('ZADD', KEYS[1], string.format('%.0f', now), replica)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - DAY))
redis.call('PEXPIRE', KEYS[1], DAY)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
local replicas = redis.call('ZCOUNT', KEYS[1], string.format('%.0f', now - PARALLEL_TTL), '+inf')
if replicas < 1 then replicas = 1 end
local halves = math.min(replicas, 2000) * 2

local silences = {}
local function silence(name)
  if not silences[name] then
    local seen = redis.call('ZSCORE', KEYS[1], name)
    silences[name] = seen and (now - tonumber(seen)) or math.huge
  end
  return silences[name]
end

local function load(key)
  local state = { ends = 0, reset = 0, base = ZERO, floor = ZERO, seeded = 0, epoch = 0, want = 0, parts = {} }
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    if string.sub(field, 1, 2) == 'p:' then
      local spent, held, allowance, seq = string.match(value, '^(%S+) (%S+) (%S+) (%d+)$')
      state.parts[string.sub(field, 3)] =
        { spent = amount(spent), held = amount(held), allowance = amount(allowance), seq = tonumber(seq) }
    elseif field == 'base' or field == 'floor' then
      state[field] = amount(value)
    else
      state[field] = tonumber(value)
    end
  end
  return state
end

local function store(key, state, kind, length, gone)
  local fields = {
    'ends', string.format('%.0f', state.ends), 'reset', string.format('%.0f', state.reset),
    'base', text(state.base), 'floor', text(state.floor), 'seeded', state.seeded,
    'epoch', string.format('%.0f', state.epoch), 'want', string.format('%.0f', state.want),
  }
  for name, part in pairs(state.parts) do
    fields[#fields + 1] = 'p:' .. name
    fields[#fields + 1] = text(part.spent) .. ' ' .. text(part.held) .. ' ' .. text(part.allowance)
      .. ' ' .. string.format('%.0f', part.seq)
  end
  redis.call('HSET', key, unpack(fields))
  if gone then redis.call('HDEL', key, 'p:' .. replica) end
  local ttl = 40 * DAY
  if kind == 'rate' then ttl = 2 * length + 60000
  elseif kind == 'parallel' then ttl = 3600000
  elseif state.ends > now then ttl = state.ends - now + DAY end
  redis.call('PEXPIRE', key, string.format('%.0f', ttl))
end

local function committed_of(part) return max(part.allowance, add(part.spent, part.held)) end

local function spent_of(state)
  local sum = state.base
  for _, part in pairs(state.parts) do sum = add(sum, part.spent) end
  return max(state.floor, sum)
end

local function others_of(state)
  local held, slack = ZERO, ZERO
  for name, part in pairs(state.parts) do
    if name ~= replica then
      held = add(held, part.held)
      slack = add(slack, sub(sub(committed_of(part), part.spent), part.held))
    end
  end
  return held, slack
end

local function enter(state, s)
  local fresh = state.epoch == 0
  if fresh then
    state.epoch, state.ends, state.reset, state.seeded, state.base = math.max(now, 1), s.ends, s.reset, 1, s.seed
  end
  local ends, reset
  if s.kind == 'rate' then
    if fresh or now >= state.ends or s.reset > state.reset then ends, reset = now + s.length, s.reset end
  elseif s.kind == 'budget' and (s.ends > state.ends or (s.ends == state.ends and s.reset > state.reset)) then
    ends, reset = s.ends, s.reset
  end
  if ends then
    local by_hand = reset > state.reset
    state.ends, state.reset = ends, reset
    if not fresh then state.base = by_hand and s.seed or ZERO end
    state.floor = ZERO
    for _, part in pairs(state.parts) do part.spent, part.allowance = ZERO, part.held end
  end
  if s.history ~= 0 and s.history ~= state.epoch and s.ends == state.ends and s.reset == state.reset then
    state.base = state.seeded == 1 and s.hbase or max(state.base, s.hbase)
    state.seeded = 0
    state.floor = max(state.floor, s.hspent)
  end
end

local function prune(state, kind)
  for name, part in pairs(state.parts) do
    if name ~= replica then
      local silent = silence(name)
      if silent > HOLD_TTL or (kind == 'parallel' and silent > PARALLEL_TTL) then
        part.held, part.allowance = ZERO, part.spent
      elseif silent > LEASE_TTL then
        part.allowance = add(part.spent, part.held)
      end
    end
  end
end

local function place(state, s)
  local same = s.ends == state.ends and s.reset == state.reset
  local had = state.parts[replica] or { spent = ZERO, held = ZERO, allowance = ZERO, seq = 0 }
  local spent = ZERO
  if same then spent = s.spent
  elseif s.kind == 'rate' and s.ends == 0 then spent = add(had.spent, s.spent) end
  if s.leave then
    state.parts[replica] = nil
    state.base = add(state.base, spent)
    return
  end
  local used = add(spent, s.held)
  local kept = same and min(had.allowance, s.keep) or min(had.allowance, used)
  state.parts[replica] = { spent = spent, held = s.held, allowance = max(kept, used), seq = s.seq }
end

local function decide(key, s)
  local state = load(key)
  local own = state.parts[replica]
  local late = own and own.seq >= s.seq
  if not late then enter(state, s) end
  prune(state, s.kind)
  if not late then place(state, s) end
  local spent = spent_of(state)
  local available = sub(s.limit, spent)
  for _, part in pairs(state.parts) do available = sub(available, sub(committed_of(part), part.spent)) end
  if not late and not s.leave and not young then
    local granted = max(min(s.need, available), ZERO)
    available = sub(available, granted)
    local short = less(granted, s.need)
    local extra = ZERO
    if s.greedy and not short and now >= state.want then extra = share(max(available, ZERO), halves) end
    available = sub(available, extra)
    local part = state.parts[replica]
    part.allowance = add(part.allowance, add(granted, extra))
    local held, slack = others_of(state)
    if short and less(ZERO, add(held, slack)) then
      state.want = now + WANT_TTL
      redis.call('ZADD', KEYS[2], string.format('%.0f', state.want), s.name)
      redis.call('PEXPIRE', KEYS[2], DAY)
    end
  end
  if not late then store(key, state, s.kind, s.length, s.leave) end
  own = state.parts[replica] or { spent = ZERO, held = ZERO, allowance = ZERO }
  local held, slack = others_of(state)
  local left = s.kind == 'rate' and math.max(state.ends - now, 0) or 0
  return table.concat({
    string.format('%.0f', state.ends), string.format('%.0f', state.reset), string.format('%.0f', left),
    text(own.spent), text(own.allowance), text(share(max(available, ZERO), halves)),
    text(sub(spent, own.spent)), text(held), text(slack), text(state.base), string.format('%.0f', state.epoch),
    young and 'young' or 'old',
  }, ' ')
end

local answers = {}
for i = 4, #KEYS do
  local at = 1 + (i - 4) * 16
  local s = {
    name = ARGV[at + 1], kind = ARGV[at + 2], seq = tonumber(ARGV[at + 3]),
    limit = amount(ARGV[at + 4]), length = tonumber(ARGV[at + 5]),
    ends = tonumber(ARGV[at + 6]), reset = tonumber(ARGV[at + 7]),
    spent = amount(ARGV[at + 8]), held = amount(ARGV[at + 9]), keep = amount(ARGV[at + 10]),
    need = amount(ARGV[at + 11]), greedy = ARGV[at + 12] == 'greedy', leave = ARGV[at + 12] == 'leave',
    seed = amount(ARGV[at + 13]), history = tonumber(ARGV[at + 14]),
    hbase = amount(ARGV[at + 15]), hspent = amount(ARGV[at + 16]),
  }
  answers[#answers + 1] = decide(KEYS[i], s)
end
local wanted = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('%.0f', now), '+inf', 'LIMIT', 0, 256)
return { known, replicas, wanted, answers }
