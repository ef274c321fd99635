-- End the job with a result. The first result counts.
-- ARGV: result as JSON, name of its file, its bytes, seconds to keep the job, damage or "".
-- Returns 1, or 0 if the job had ended already.
local result, name, size, expiry_s, damage = unpack(ARGV)

if not is_active() then return 0 end
redis.call("HSET", shared_key("bytes"), id, size)
conclude("succeeded", tonumber(expiry_s), "result", result, "result_file", name, "damage", damage)
return 1
