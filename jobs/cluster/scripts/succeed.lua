-- The result is there; the first one counts. ARGV: result, its file, its bytes, seconds to keep it,
-- what it lacks.
local result, name, size, keep_s, damage = unpack(ARGV)

if not is_active() then return 0 end
redis.call("HSET", all("bytes"), id, size)
conclude("succeeded", tonumber(keep_s), "result", result, "result_file", name, "damage", damage)
return 1
