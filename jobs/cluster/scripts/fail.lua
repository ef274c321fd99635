-- End the job with an error. ARGV: the error, seconds to keep the job.
-- Returns 1, or 0 if the job had ended already.
if not is_active() then return 0 end
redis.call("HSET", shared_key("bytes"), id, 0)
conclude("failed", tonumber(ARGV[2]), "error", ARGV[1])
return 1
