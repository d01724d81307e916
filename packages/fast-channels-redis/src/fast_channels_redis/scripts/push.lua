-- Adds a message to a general channel, unless as many as its capacity wait in it.
-- KEYS[1]: the stream. ARGV: data, capacity, expiry and life of the key in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What expired goes, also from those who hold it: a process that died would hold it for ever.
local function drop_expired()
  local limit = math.max(now - ARGV[3], 1)
  local last = string.format('%.0f', limit - 1)
  while true do
    local held = redis.pcall('XPENDING', KEYS[1], 'receivers', '-', last, 1000)
    if held.err or #held == 0 then break end
    for _, entry in ipairs(held) do redis.call('XACK', KEYS[1], 'receivers', entry[1]) end
  end
  redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', limit))
end

if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  drop_expired()
  local waiting = redis.call('XLEN', KEYS[1])
  -- What receivers hold and have not acknowledged does not wait any more.
  local held = redis.pcall('XPENDING', KEYS[1], 'receivers')
  if type(held[1]) == 'number' then waiting = waiting - held[1] end
  if waiting >= tonumber(ARGV[2]) then return 0 end
end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
