-- ARGV: what is wrong, seconds to keep that.
if not is_active() then return 0 end
redis.call("HSET", all("bytes"), id, 0)
conclude("failed", tonumber(ARGV[2]), "error", ARGV[1])
return 1
