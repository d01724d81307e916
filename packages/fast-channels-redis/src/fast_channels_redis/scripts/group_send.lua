-- Adds a message to the inbox of every node in a group, in one order for all of them, and takes
-- nodes that are gone out of the group.
-- KEYS[1]: the group. ARGV: beginning of the inboxes' names, data, the most messages that may wait.
-- Returns how many inboxes were full.
local full = 0
for _, node in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local inbox = ARGV[1] .. node
  if redis.call('XLEN', inbox) >= tonumber(ARGV[3]) then
    full = full + 1
  elseif not redis.call('XADD', inbox, 'NOMKSTREAM', '*', 'm', ARGV[2]) then
    redis.call('SREM', KEYS[1], node)
  end
end
return full
