-- Adds messages to the inbox of every node in a group, in one order for all of them, and takes
-- nodes that are gone out of the group.
-- KEYS[1]: the group. ARGV: beginning of the inboxes' names, the most messages that may wait, data
-- of each message.
-- Returns how many inboxes were full.
local full = 0
for _, node in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local inbox = ARGV[1] .. node
  if redis.call('XLEN', inbox) >= tonumber(ARGV[2]) then
    full = full + 1
  else
    for index = 3, #ARGV do
      if not redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'm', ARGV[index]) then
        redis.call('SREM', KEYS[1], node)
        break
      end
    end
  end
end
return full
