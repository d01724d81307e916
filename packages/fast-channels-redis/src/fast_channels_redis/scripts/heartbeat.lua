-- Keeps a node's inbox alive, trims what the node has read, and makes the inbox anew if it is gone
-- or has lost messages that the node has read already (a failover may lose the last ones).
-- KEYS[1]: the inbox. ARGV: the last id that was read (milliseconds, serial), life in milliseconds.
-- Returns whether it was made anew, the id to read on from, and the time.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local read_ms, read_serial = tonumber(ARGV[1]), tonumber(ARGV[2])

local function holds_what_was_read()
  if redis.call('EXISTS', KEYS[1]) == 0 then return false end
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then
      local ms, serial = string.match(info[index + 1], '(%d+)-(%d+)')
      ms, serial = tonumber(ms), tonumber(serial)
      return ms > read_ms or (ms == read_ms and serial >= read_serial)
    end
  end
  return false
end

local made, id = 0, ARGV[1] .. '-' .. ARGV[2]
if holds_what_was_read() then
  redis.call('XTRIM', KEYS[1], 'MINID', '~', id)
else
  -- Ids must go on from what was read, also if this server's clock is behind the last one's.
  made = 1
  if now > read_ms then
    id = string.format('%.0f-0', now)
  else
    id = string.format('%.0f-%.0f', read_ms, read_serial + 1)
  end
  redis.call('XADD', KEYS[1], id, 'm', '')
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { made, id, time[1], time[2] }
