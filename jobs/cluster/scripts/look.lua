-- Whether a message must be sent for a job. ARGV: 1 if no message waits, so none is under way.
if not is_active() then return 0 end
if ARGV[1] == "1" then redis.call("HDEL", job, "told") end
return needs_message()
