-- Adds a message to a general channel, unless as many as its capacity wait in it.
-- KEYS[1]: the stream. ARGV: data, capacity, expiry and life of the key in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', math.max(now - ARGV[3], 0)))
  local waiting = redis.call('XLEN', KEYS[1])
  -- What receivers hold and have not acknowledged does not wait any more.
  local held = redis.pcall('XPENDING', KEYS[1], 'receivers')
  if type(held[1]) == 'number' then waiting = waiting - held[1] end
  if waiting >= tonumber(ARGV[2]) then return 0 end
end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
