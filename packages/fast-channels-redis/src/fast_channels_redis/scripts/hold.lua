-- Sets for how long a node has held a message of a general channel, if it still holds it: another
-- one may have taken it meanwhile.
-- KEYS[1]: the stream. ARGV: the message, the node, milliseconds.
local held = redis.pcall('XPENDING', KEYS[1], 'receivers', ARGV[1], ARGV[1], 1, ARGV[2])
if held.err or #held == 0 then return 0 end
-- JUSTID: it does not count as another delivery.
redis.call('XCLAIM', KEYS[1], 'receivers', ARGV[2], 0, ARGV[1], 'IDLE', ARGV[3], 'JUSTID')
return 1
