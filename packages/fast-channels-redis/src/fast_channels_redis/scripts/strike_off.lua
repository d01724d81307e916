-- Forgets a node that is silent still.
-- KEYS[1]: the nodes. ARGV: the node, lease in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local heard = redis.call('ZSCORE', KEYS[1], ARGV[1])
if heard and tonumber(heard) < now - ARGV[2] then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
