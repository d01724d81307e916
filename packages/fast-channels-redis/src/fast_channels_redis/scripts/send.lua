-- Adds a message to a node's inbox. That the inbox exists means that the node lives.
-- KEYS[1]: the inbox. ARGV: data, the most messages that may wait.
-- Returns 1, or 0 if there is no such node, or -1 if its inbox is full.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return -1 end
if redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 'm', ARGV[1]) then return 1 end
return 0
